-- act_on_any_schedule(p_action, p_schedule_id, p_arguments)
-- Perform an action on a schedule for an operator; act_on_own_schedule is for the owner. Repeating an action changes
-- nothing more.
-- Locks: the schedule.
create function batchgen_api.act_on_any_schedule(
  p_action text, p_schedule_id uuid, p_arguments jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_schedule batchgen.batch_schedules;
begin
  select s.* into v_schedule from batchgen.batch_schedules s where s.id = p_schedule_id for update;
  if not found then
    perform batchgen.refuse_schedule();
  end if;
  if p_action = 'delete' then
    delete from batchgen.batch_schedules s where s.id = p_schedule_id;
    return jsonb_build_object('deleted', p_schedule_id);
  elsif p_action = 'edit' then
    v_schedule := batchgen.read_schedule(v_schedule, p_arguments);
  elsif p_action = 'pause' then
    v_schedule.paused_at := coalesce(v_schedule.paused_at, clock_timestamp());
  elsif p_action = 'resume' then
    v_schedule.paused_at := null;
  end if;
  update batchgen.batch_schedules s
  set name = v_schedule.name, request = v_schedule.request, run_at = v_schedule.run_at, cron = v_schedule.cron,
    time_zone = v_schedule.time_zone, missed_runs = v_schedule.missed_runs, paused_at = v_schedule.paused_at,
    updated_at = clock_timestamp()
  where s.id = p_schedule_id
    and (s.name, s.request, s.run_at, s.cron, s.time_zone, s.missed_runs, s.paused_at) is distinct from
      (v_schedule.name, v_schedule.request, v_schedule.run_at, v_schedule.cron, v_schedule.time_zone,
        v_schedule.missed_runs, v_schedule.paused_at)
  returning s.* into v_schedule;
  if not found then
    select s.* into v_schedule from batchgen.batch_schedules s where s.id = p_schedule_id;
  end if;
  return jsonb_build_object('schedule', batchgen.schedule_answer(v_schedule));
end
$$;
revoke execute on function batchgen_api.act_on_any_schedule(text, uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_any_schedule(text, uuid, jsonb) to service_role;
comment on function batchgen_api.act_on_any_schedule(text, uuid, jsonb) is
  'Behind the actions on schedules: for operators.';

create function batchgen.refuse_schedule() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('schedule_not_found', 'Schedule not found, or it belongs to another user.', 'p_schedule_id',
    'Use the id of one of your schedules.', null, null, 'PT404');
end
$$;
revoke execute on function batchgen.refuse_schedule() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_schedule() is 'Raises PT404: schedule not found, or it belongs to another user.';

-- check_own_schedule(p_schedule_id)
-- Refuse a schedule that is not the signed-in user's.
create function batchgen.check_own_schedule(p_schedule_id uuid) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from batchgen.batch_schedules s where s.id = p_schedule_id and s.user_id = auth.uid()) then
    perform batchgen.refuse_schedule();
  end if;
end
$$;
revoke execute on function batchgen.check_own_schedule(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.check_own_schedule(uuid) is 'Refuses a schedule that is not the signed-in user''s.';

create function batchgen_api.act_on_own_schedule(
  p_action text, p_schedule_id uuid, p_arguments jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.check_own_schedule(p_schedule_id);
  return batchgen_api.act_on_any_schedule(p_action, p_schedule_id, p_arguments);
end
$$;
revoke execute on function batchgen_api.act_on_own_schedule(text, uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_own_schedule(text, uuid, jsonb) to authenticated;
comment on function batchgen_api.act_on_own_schedule(text, uuid, jsonb) is
  'Behind the actions on schedules: for the owner.';

-- act_on_schedule(p_action, p_schedule_id, p_arguments)
-- Perform an action with the caller's rights: an operator's or an owner's.
create function batchgen_api.act_on_schedule(
  p_action text, p_schedule_id uuid, p_arguments jsonb default null
) returns jsonb
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.act_on_any_schedule(text, uuid, jsonb)', 'execute') then
    return batchgen_api.act_on_any_schedule(p_action, p_schedule_id, p_arguments);
  end if;
  return batchgen_api.act_on_own_schedule(p_action, p_schedule_id, p_arguments);
end
$$;
revoke execute on function batchgen_api.act_on_schedule(text, uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_schedule(text, uuid, jsonb) to authenticated, service_role;
comment on function batchgen_api.act_on_schedule(text, uuid, jsonb) is
  'Behind the actions on schedules: with the caller''s rights.';

-- edit_schedule(p_schedule_id, p_changes)
-- Change some fields of a schedule, named as in create_schedule. New times count from now on.
-- Caller: authenticated, for a schedule of their own; service_role, for any. So are the four below.
-- Errors: PT401, PT404, PT422.
create function public.edit_schedule(p_schedule_id uuid, p_changes jsonb) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('edit', p_schedule_id, p_changes)
$$;
revoke execute on function public.edit_schedule(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.edit_schedule(uuid, jsonb) to authenticated, service_role;
comment on function public.edit_schedule(uuid, jsonb) is 'Changes some fields of a schedule.';

-- pause_schedule(p_schedule_id)
-- Run nothing until resume_schedule. Slots that pass meanwhile do not run.
-- Caller: as for edit_schedule. Errors: PT401, PT404.
create function public.pause_schedule(p_schedule_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('pause', p_schedule_id)
$$;
revoke execute on function public.pause_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.pause_schedule(uuid) to authenticated, service_role;
comment on function public.pause_schedule(uuid) is 'Pauses a schedule.';

-- resume_schedule(p_schedule_id)
-- Go on with the next slot.
-- Caller: as for edit_schedule. Errors: PT401, PT404.
create function public.resume_schedule(p_schedule_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('resume', p_schedule_id)
$$;
revoke execute on function public.resume_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.resume_schedule(uuid) to authenticated, service_role;
comment on function public.resume_schedule(uuid) is 'Resumes a paused schedule.';

-- delete_schedule(p_schedule_id)
-- Delete a schedule and the record of its runs; its batches stay. Returns {deleted: id}.
-- Caller: as for edit_schedule. Errors: PT401; PT404, also if it was deleted before.
create function public.delete_schedule(p_schedule_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('delete', p_schedule_id)
$$;
revoke execute on function public.delete_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_schedule(uuid) to authenticated, service_role;
comment on function public.delete_schedule(uuid) is 'Deletes a schedule; its batches stay.';

