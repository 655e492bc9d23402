-- create_schedule_for(p_user_id, p_schedule)
-- Create a schedule. A repeated client_key with the same body returns the same schedule.
-- Caller: create_schedule, create_schedule_as.
-- Locks: the user's row in auth.users, then their row in user_rate_limits, so that two calls at once cannot both create
-- the last one allowed.
-- Errors: PT422; PT429 too_many_schedules, unless the caller is an operator; PT409 client_key_reused; PT401 if the user
-- is deleted.
create function batchgen.create_schedule_for(p_user_id uuid, p_schedule jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_schedule batchgen.batch_schedules;
  v_known batchgen.batch_schedules;
  v_most integer := (select s.max_schedules_per_user from batchgen.settings s);
begin
  perform batchgen.lock_limits(p_user_id);
  if jsonb_typeof(p_schedule) = 'object' then
    v_schedule.client_key := batchgen.read_client_key(p_schedule);
    v_schedule.body_hash := batchgen.request_hash(p_schedule - 'client_key');
    select s.* into v_known from batchgen.batch_schedules s
    where s.user_id = p_user_id and s.client_key = v_schedule.client_key;
    if found and v_known.body_hash = v_schedule.body_hash then
      return jsonb_build_object('schedule', batchgen.schedule_answer(v_known));
    elsif found then
      perform batchgen.refuse('client_key_reused', 'client_key was used before for another schedule.', 'client_key',
        'Use a new client_key for a new schedule.', null, null, 'PT409');
    end if;
  end if;
  v_schedule.user_id := p_user_id;
  v_schedule.time_zone := 'UTC';
  v_schedule.missed_runs := 'one';
  v_schedule := batchgen.read_schedule(v_schedule, p_schedule);
  if not batchgen.is_operator()
    and (select count(*) from batchgen.batch_schedules s where s.user_id = p_user_id) >= v_most
  then
    perform batchgen.refuse('too_many_schedules', format('You have %s schedules, as many as are allowed.', v_most),
      'max_schedules_per_user', 'Delete one that you do not need.', null, to_jsonb(v_most), 'PT429');
  end if;
  insert into batchgen.batch_schedules (
    user_id, name, request, run_at, cron, time_zone, missed_runs, paused_at, client_key, body_hash
  ) values (
    v_schedule.user_id, v_schedule.name, v_schedule.request, v_schedule.run_at, v_schedule.cron, v_schedule.time_zone,
    v_schedule.missed_runs, v_schedule.paused_at, v_schedule.client_key,
    case when v_schedule.client_key is not null then v_schedule.body_hash end
  ) returning * into v_schedule;
  return jsonb_build_object('schedule', batchgen.schedule_answer(v_schedule));
end
$$;
revoke execute on function batchgen.create_schedule_for(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.create_schedule_for(uuid, jsonb) is 'Creates a schedule of a user.';

create function batchgen_api.create_schedule(p_schedule jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return batchgen.create_schedule_for(auth.uid(), p_schedule);
end
$$;
revoke execute on function batchgen_api.create_schedule(jsonb) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.create_schedule(jsonb) to authenticated;
comment on function batchgen_api.create_schedule(jsonb) is 'Behind public.create_schedule: for the signed-in user.';

-- create_schedule(p_schedule)
-- Create a schedule: {request, cron or run_at, time_zone?, name?, missed_runs?, paused?, client_key?} -> {schedule: …}.
-- batchgen.schedule_answer describes the answer.
-- Caller: authenticated, for themselves.
-- Errors: PT401; PT422; PT429 too_many_schedules; PT409 client_key_reused.
create function public.create_schedule(p_schedule jsonb) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.create_schedule(p_schedule)
$$;
revoke execute on function public.create_schedule(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_schedule(jsonb) to authenticated;
comment on function public.create_schedule(jsonb) is 'Creates a schedule of the signed-in user.';

-- create_schedule_as(p_user_id, p_schedule)
-- create_schedule for an operator who acts for a user.
-- Caller: service_role.
create function public.create_schedule_as(p_user_id uuid, p_schedule jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('unknown_user', 'p_user_id is not a user of this project.', 'p_user_id',
      'Use the id of a row in auth.users.');
  end if;
  return batchgen.create_schedule_for(p_user_id, p_schedule);
end
$$;
revoke execute on function public.create_schedule_as(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_schedule_as(uuid, jsonb) to service_role;
comment on function public.create_schedule_as(uuid, jsonb) is 'For operators: creates a schedule of a user.';
