create function batchgen_api.schedules_of_any_user(p_user_id uuid, p_before timestamptz, p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(batchgen.schedule_answer(s) order by s.created_at desc, s.id desc), '[]')
  from (
    select f.* from batchgen.batch_schedules f
    where (p_user_id is null or f.user_id = p_user_id) and (p_before is null or f.created_at < p_before)
    order by f.created_at desc, f.id desc limit least(greatest(coalesce(p_limit, 100), 0), 1000)
  ) s
$$;
revoke execute on function batchgen_api.schedules_of_any_user(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.schedules_of_any_user(uuid, timestamptz, integer) to service_role;
comment on function batchgen_api.schedules_of_any_user(uuid, timestamptz, integer) is
  'Behind public.get_schedules: for operators.';

create function batchgen_api.own_schedules(p_user_id uuid, p_before timestamptz, p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id <> auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id, or leave it out.', null, null, 'PT404');
  end if;
  return batchgen_api.schedules_of_any_user(auth.uid(), p_before, p_limit);
end
$$;
revoke execute on function batchgen_api.own_schedules(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.own_schedules(uuid, timestamptz, integer) to authenticated;
comment on function batchgen_api.own_schedules(uuid, timestamptz, integer) is
  'Behind public.get_schedules: for the signed-in user.';

-- get_schedules(p_user_id, p_before, p_limit)
-- Schedules, newest first, as a JSON list of what batchgen.schedule_answer describes: at most p_limit (1,000), created
-- before p_before if that is given.
-- Caller: authenticated, for themselves; service_role, for one user or all.
-- Errors: PT401; PT404 for another user.
create function public.get_schedules(
  p_user_id uuid default null, p_before timestamptz default null, p_limit integer default 100
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.schedules_of_any_user(uuid, timestamptz, integer)', 'execute') then
    return batchgen_api.schedules_of_any_user(p_user_id, p_before, p_limit);
  end if;
  return batchgen_api.own_schedules(p_user_id, p_before, p_limit);
end
$$;
revoke execute on function public.get_schedules(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_schedules(uuid, timestamptz, integer) to authenticated, service_role;
comment on function public.get_schedules(uuid, timestamptz, integer) is 'Schedules with their next five runs.';

create function batchgen_api.runs_of_any_schedule(
  p_schedule_id uuid, p_before timestamptz, p_limit integer
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_schedule batchgen.batch_schedules;
begin
  select s.* into v_schedule from batchgen.batch_schedules s where s.id = p_schedule_id;
  if not found then
    perform batchgen.refuse_schedule();
  end if;
  return jsonb_build_object('schedule', batchgen.schedule_answer(v_schedule), 'runs', coalesce((
    select jsonb_agg(batchgen.schedule_run_answer(r) order by r.slot desc)
    from (
      select f.* from batchgen.schedule_runs f
      where f.schedule_id = p_schedule_id and (p_before is null or f.slot < p_before)
      order by f.slot desc limit least(greatest(coalesce(p_limit, 50), 0), 1000)
    ) r
  ), '[]'));
end
$$;
revoke execute on function batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer) to service_role;
comment on function batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer) is
  'Behind public.get_schedule_runs: for operators.';

create function batchgen_api.runs_of_own_schedule(
  p_schedule_id uuid, p_before timestamptz, p_limit integer
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_own_schedule(p_schedule_id);
  return batchgen_api.runs_of_any_schedule(p_schedule_id, p_before, p_limit);
end
$$;
revoke execute on function batchgen_api.runs_of_own_schedule(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.runs_of_own_schedule(uuid, timestamptz, integer) to authenticated;
comment on function batchgen_api.runs_of_own_schedule(uuid, timestamptz, integer) is
  'Behind public.get_schedule_runs: for the owner.';

-- get_schedule_runs(p_schedule_id, p_before, p_limit)
-- {schedule, runs: [{schedule_id, slot, outcome, fired_at, attempts, batch_id, refusal, retry_at}]}: decided slots, the
-- newest first, before p_before if that is given; at most p_limit (1,000). outcome: submitted, refused or missed.
-- Caller: authenticated, for a schedule of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.get_schedule_runs(
  p_schedule_id uuid, p_before timestamptz default null, p_limit integer default 50
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer)', 'execute') then
    return batchgen_api.runs_of_any_schedule(p_schedule_id, p_before, p_limit);
  end if;
  return batchgen_api.runs_of_own_schedule(p_schedule_id, p_before, p_limit);
end
$$;
revoke execute on function public.get_schedule_runs(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_schedule_runs(uuid, timestamptz, integer) to authenticated, service_role;
comment on function public.get_schedule_runs(uuid, timestamptz, integer) is
  'A schedule with its decided slots, and the batches that they made.';

-- preview_schedule(p_schedule_id)
-- {schedule, next_runs}: the times of the next five runs, or fewer if there are no more. A worker computes those of a
-- new schedule within seconds; of a paused one as well.
-- Caller: authenticated, for a schedule of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.preview_schedule(p_schedule_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('schedule', s.answer, 'next_runs', s.answer -> 'next_runs')
  from (select public.get_schedule_runs(p_schedule_id, null, 0) -> 'schedule' as answer) s
$$;
revoke execute on function public.preview_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.preview_schedule(uuid) to authenticated, service_role;
comment on function public.preview_schedule(uuid) is 'The times of the next five runs of a schedule.';
