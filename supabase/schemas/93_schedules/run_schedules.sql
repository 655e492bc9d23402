-- Due slots run here, each in the transaction that records it: a slot and its batch are both committed or neither is.
-- The functions take the time as p_now; public.run_schedules passes the database's clock.

-- submit_scheduled(p_schedule)
-- Create a batch of the schedule's request for its user, with the user's limits even if a worker calls. Returns the
-- batch's id.
-- Errors: those of create_batch_for; PT401 user_disabled for a user that Auth lets not sign in.
create function batchgen.submit_scheduled(p_schedule batchgen.batch_schedules) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_answer jsonb;
  v_user jsonb := (select to_jsonb(u) from auth.users u where u.id = p_schedule.user_id);
begin
  if v_user ->> 'deleted_at' is not null or (v_user ->> 'banned_until')::timestamptz > clock_timestamp() then
    perform batchgen.refuse('user_disabled', 'The user is deleted or banned.', null, 'Restore the user.', null, null,
      'PT401');
  end if;
  perform set_config('batchgen.acts_as_user', 'on', true);
  v_answer := batchgen.create_batch_for(p_schedule.user_id, p_schedule.request);
  perform set_config('batchgen.acts_as_user', '', true);
  return (v_answer -> 'batch' ->> 'id')::uuid;
end
$$;
revoke execute on function batchgen.submit_scheduled(batchgen.batch_schedules)
from public, anon, authenticated, service_role;
comment on function batchgen.submit_scheduled(batchgen.batch_schedules) is
  'Creates a batch of a schedule, within the limits of its user.';

-- scheduled_retry_at(p_schedule, p_slot, p_refusal, p_attempts, p_now)
-- When a refused slot is tried again; null if never: the rule is skip, or the slot is too old. After 1, 2, 4, …
-- minutes, at most an hour, or when the limit in the way resets if that is within an hour.
create function batchgen.scheduled_retry_at(
  p_schedule batchgen.batch_schedules, p_slot timestamptz, p_refusal jsonb, p_attempts integer, p_now timestamptz
) returns timestamptz
language sql stable set search_path = '' as $$
  select case
    when p_schedule.missed_runs = 'skip' or p_slot < p_now - make_interval(days => s.missed_run_days) then null
    when (p_refusal ->> 'retry_after_seconds')::double precision between 0 and 3600
      then p_now + make_interval(secs => (p_refusal ->> 'retry_after_seconds')::double precision)
    else p_now + least(interval '1 minute' * 2 ^ least(p_attempts - 1, 10), interval '1 hour')
  end
  from batchgen.settings s
$$;
revoke execute on function batchgen.scheduled_retry_at(
  batchgen.batch_schedules, timestamptz, jsonb, integer, timestamptz
) from public, anon, authenticated, service_role;
comment on function batchgen.scheduled_retry_at(batchgen.batch_schedules, timestamptz, jsonb, integer, timestamptz) is
  'When a refused slot of a schedule is tried again; null if never.';

-- run_slot(p_schedule, p_slot, p_now)
-- Try one slot: create its batch and record it, or record the refusal. A slot that has a batch stays as it is.
-- Caller: run_due_slots, which has locked the schedule.
-- Errors: only collisions of transactions; the caller's transaction is repeated then. Anything else that goes wrong is
-- recorded as a refusal, so that it holds up no other schedule.
create function batchgen.run_slot(
  p_schedule batchgen.batch_schedules, p_slot timestamptz, p_now timestamptz
) returns batchgen.schedule_runs
language plpgsql security definer set search_path = '' as $$
declare
  v_run batchgen.schedule_runs;
  v_attempts integer;
  v_detail text;
begin
  select r.* into v_run from batchgen.schedule_runs r where r.schedule_id = p_schedule.id and r.slot = p_slot;
  if v_run.outcome = 'submitted' then
    return v_run;
  end if;
  v_attempts := coalesce(v_run.attempts, 0) + 1;
  v_run := row(p_schedule.id, p_slot, 'submitted', p_now, v_attempts, null, null, null);
  begin
    v_run.batch_id := batchgen.submit_scheduled(p_schedule);
  exception
    when serialization_failure or deadlock_detected or lock_not_available then
      raise;
    when others then
      get stacked diagnostics v_detail = pg_exception_detail;
      v_run.outcome := 'refused';
      v_run.refusal := case
        when sqlstate like 'PT%' and v_detail ~ '^\{' then v_detail::jsonb
        else jsonb_build_object('code', 'internal_error', 'message', left(sqlerrm, 500), 'remedy',
          'Tell an admin of the project.')
      end;
      v_run.retry_at := batchgen.scheduled_retry_at(p_schedule, p_slot, v_run.refusal, v_attempts, p_now);
  end;
  insert into batchgen.schedule_runs select v_run.*
  on conflict (schedule_id, slot) do update set outcome = excluded.outcome, fired_at = excluded.fired_at,
    attempts = excluded.attempts, batch_id = excluded.batch_id, refusal = excluded.refusal,
    retry_at = excluded.retry_at;
  return v_run;
end
$$;
revoke execute on function batchgen.run_slot(batchgen.batch_schedules, timestamptz, timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.run_slot(batchgen.batch_schedules, timestamptz, timestamptz) is
  'Tries one slot of a schedule and records its batch or the refusal.';

-- slots_to_run(p_schedule, p_due, p_now)
-- Those of the due slots that run by the schedule's rule, oldest first. skip: the last one if it is not late; one: the
-- last one; all: the last settings.max_missed_runs. None is older than settings.missed_run_days.
create function batchgen.slots_to_run(
  p_schedule batchgen.batch_schedules, p_due timestamptz[], p_now timestamptz
) returns timestamptz[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(l.slot order by l.slot), '{}')
  from batchgen.settings s
  cross join lateral (
    select d.slot from unnest(p_due) d (slot) order by d.slot desc
    limit case when p_schedule.missed_runs = 'all' then s.max_missed_runs else 1 end
  ) l
  where l.slot >= p_now - case
    when p_schedule.missed_runs = 'skip' then make_interval(secs => s.schedule_grace_seconds)
    else make_interval(days => s.missed_run_days)
  end
$$;
revoke execute on function batchgen.slots_to_run(batchgen.batch_schedules, timestamptz[], timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.slots_to_run(batchgen.batch_schedules, timestamptz[], timestamptz) is
  'The due slots that run by the schedule''s rule.';

-- run_due_slots(p_schedule, p_now)
-- Decide the due slots of a schedule: run those that its rule lets run, at most ten in one transaction, and record the
-- others as missed. A refused slot that is tried again keeps its place before later ones. Keeps the last 1,000 runs.
-- Returns the runs that were tried.
-- Caller: run_next_schedule, which has locked the schedule.
create function batchgen.run_due_slots(p_schedule batchgen.batch_schedules, p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_due timestamptz[] := array(select s from unnest(p_schedule.slots) s where s <= p_now order by s);
  v_chosen timestamptz[] := batchgen.slots_to_run(p_schedule, v_due, p_now);
  v_left timestamptz[] := v_chosen;
  v_run batchgen.schedule_runs;
  v_tried jsonb := '[]';
begin
  insert into batchgen.schedule_runs (schedule_id, slot, outcome, fired_at, attempts)
  select p_schedule.id, d.slot, 'missed', p_now, 0 from unnest(v_due) d (slot) where d.slot <> all (v_chosen)
  on conflict (schedule_id, slot) do update set retry_at = null;
  while cardinality(v_left) > 0 and jsonb_array_length(v_tried) < 10 loop
    v_run := batchgen.run_slot(p_schedule, v_left[1], p_now);
    v_tried := v_tried || batchgen.schedule_run_answer(v_run);
    exit when v_run.retry_at is not null;
    v_left := v_left[2:];
  end loop;
  update batchgen.batch_schedules s
  set slots = v_left || array(select o from unnest(s.slots) o where o > p_now order by o), retry_at = v_run.retry_at
  where s.id = p_schedule.id;
  delete from batchgen.schedule_runs r
  where r.schedule_id = p_schedule.id and r.slot < (
    select o.slot from batchgen.schedule_runs o where o.schedule_id = p_schedule.id
    order by o.slot desc offset 999 limit 1
  );
  return v_tried;
end
$$;
revoke execute on function batchgen.run_due_slots(batchgen.batch_schedules, timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.run_due_slots(batchgen.batch_schedules, timestamptz) is
  'Decides the due slots of a schedule and returns the runs that were tried.';

-- run_next_schedule(p_now)
-- Decide the due slots of one schedule that nobody else is deciding; null if there is none. A schedule whose times are
-- not planned up to now waits for its plan, since its rule needs to know the last slot.
-- Locks: the schedule's user, then the schedule, in the order in which a user is deleted; then those of
-- create_batch_for. Locked ones are left to the session that has them.
create function batchgen.run_next_schedule(p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_candidate record;
  v_schedule batchgen.batch_schedules;
begin
  for v_candidate in
    select s.id, s.user_id from batchgen.batch_schedules s
    where s.due_at <= p_now and s.planned_until > p_now order by s.due_at, s.id limit 100
  loop
    perform 1 from auth.users u where u.id = v_candidate.user_id for key share skip locked;
    continue when not found;
    select s.* into v_schedule from batchgen.batch_schedules s
    where s.id = v_candidate.id and s.due_at <= p_now and s.planned_until > p_now for update skip locked;
    if found then
      return jsonb_build_object(
        'schedule_id', v_schedule.id, 'runs', batchgen.run_due_slots(v_schedule, p_now)
      );
    end if;
  end loop;
  return null;
end
$$;
revoke execute on function batchgen.run_next_schedule(timestamptz) from public, anon, authenticated, service_role;
comment on function batchgen.run_next_schedule(timestamptz) is
  'Decides the due slots of one schedule; null if none is due.';

-- run_schedules()
-- {fired, to_plan}. fired: {schedule_id, runs} of one schedule whose due slots were decided, else null; call again
-- until it is null. to_plan: up to 50 schedules whose next times are to be computed and handed to plan_schedules:
-- {schedule_id, version, planned_until, after, now, cron, time_zone}.
-- Caller: service_role.
create function public.run_schedules() returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object(
    'fired', batchgen.run_next_schedule(c.now),
    'to_plan', batchgen.schedules_to_plan(c.now)
  )
  from (select clock_timestamp() as now) c
$$;
revoke execute on function public.run_schedules() from public, anon, authenticated, service_role;
grant execute on function public.run_schedules() to service_role;
comment on function public.run_schedules() is
  'For workers: runs the due slots of one schedule, and lists schedules whose times are to be computed.';
