-- schedule_state(p_schedule)
-- active, paused, ended (all of its slots are decided, and there are no more), or stopped (no times can be computed).
create function batchgen.schedule_state(p_schedule batchgen.batch_schedules) returns text
language sql immutable set search_path = '' as $$
  select case
    when p_schedule.problem is not null then 'stopped'
    when p_schedule.planned_until = 'infinity' and p_schedule.slots = '{}' then 'ended'
    when p_schedule.paused_at is not null then 'paused'
    else 'active'
  end
$$;
revoke execute on function batchgen.schedule_state(batchgen.batch_schedules)
from public, anon, authenticated, service_role;
comment on function batchgen.schedule_state(batchgen.batch_schedules) is
  'State of a schedule: active, paused, ended or stopped.';

create function batchgen.schedule_run_answer(p_run batchgen.schedule_runs) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('schedule_id', p_run.schedule_id, 'slot', p_run.slot, 'outcome', p_run.outcome,
    'fired_at', p_run.fired_at, 'attempts', p_run.attempts, 'batch_id', p_run.batch_id, 'refusal', p_run.refusal,
    'retry_at', p_run.retry_at)
  where p_run.schedule_id is not null
$$;
revoke execute on function batchgen.schedule_run_answer(batchgen.schedule_runs)
from public, anon, authenticated, service_role;
comment on function batchgen.schedule_run_answer(batchgen.schedule_runs) is 'A run of a schedule, for its owner.';

-- schedule_answer(p_schedule)
-- A schedule as its owner sees it. next_runs: up to five; empty until a worker has planned a new schedule, within
-- seconds. last_run: the newest decided slot.
create function batchgen.schedule_answer(p_schedule batchgen.batch_schedules) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'id', p_schedule.id, 'user_id', p_schedule.user_id, 'name', p_schedule.name, 'request', p_schedule.request,
    'run_at', p_schedule.run_at, 'cron', p_schedule.cron, 'time_zone', p_schedule.time_zone,
    'missed_runs', p_schedule.missed_runs, 'state', batchgen.schedule_state(p_schedule),
    'paused_at', p_schedule.paused_at, 'problem', p_schedule.problem,
    'created_at', p_schedule.created_at, 'updated_at', p_schedule.updated_at,
    'next_runs', to_jsonb(array(
      select s from unnest(p_schedule.slots) s where s > clock_timestamp() order by s limit 5
    )),
    'last_run', (
      select batchgen.schedule_run_answer(r) from batchgen.schedule_runs r
      where r.schedule_id = p_schedule.id order by r.slot desc limit 1
    )
  )
$$;
revoke execute on function batchgen.schedule_answer(batchgen.batch_schedules)
from public, anon, authenticated, service_role;
comment on function batchgen.schedule_answer(batchgen.batch_schedules) is 'A schedule as its owner sees it.';
