-- schedules_to_plan(p_now)
-- Schedules with fewer than five slots ahead, at most 50, as run_schedules returns them. Slots are planned from after
-- on: ones that are too old to run are left out.
create function batchgen.schedules_to_plan(p_now timestamptz) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'schedule_id', p.id, 'version', p.version, 'planned_until', p.planned_until,
    'after', greatest(p.planned_until, p_now - make_interval(days => s.missed_run_days)), 'now', p_now,
    'cron', p.cron, 'time_zone', p.time_zone
  ) order by p.plan_at, p.id), '[]')
  from batchgen.settings s cross join (
    select b.* from batchgen.batch_schedules b where b.plan_at <= p_now and b.cron is not null
    order by b.plan_at, b.id limit 50
  ) p
$$;
revoke execute on function batchgen.schedules_to_plan(timestamptz) from public, anon, authenticated, service_role;
comment on function batchgen.schedules_to_plan(timestamptz) is 'Schedules with fewer than five slots ahead.';

-- plan_schedules(p_plans)
-- Add computed times to schedules: [{schedule_id, version, planned_until, slots, is_last, problem}], the first three as
-- run_schedules gave them. slots: ascending, after planned_until, at most 1,000. is_last: there are no more. problem:
-- {code, message, remedy} if the times cannot be computed; the schedule then stops until its times are edited. A plan
-- for a schedule that was planned or edited meanwhile is dropped. Returns how many were taken.
-- Caller: service_role.
-- Errors: PT422 for slots that are not as described.
create function public.plan_schedules(p_plans jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_plan record;
  v_taken integer := 0;
begin
  for v_plan in
    select p.* from jsonb_to_recordset(p_plans) p (
      schedule_id uuid, version integer, planned_until timestamptz, slots timestamptz[], is_last boolean, problem jsonb
    ) order by p.schedule_id
  loop
    v_plan.slots := coalesce(v_plan.slots, '{}');
    if cardinality(v_plan.slots) > 1000 or v_plan.slots is distinct from array(
      select distinct s from unnest(v_plan.slots) s where s > v_plan.planned_until and isfinite(s) order by s
    ) then
      perform batchgen.refuse_argument('p_plans', 'has slots that are not ascending, or not after planned_until.',
        'Send up to 1,000 times after planned_until, in order.');
    end if;
    update batchgen.batch_schedules b
    set slots = array(
        select s from unnest(b.slots || v_plan.slots) s
        where b.paused_at is null or s > clock_timestamp() order by s
      ),
      planned_until = case
        when v_plan.is_last then 'infinity' else coalesce(v_plan.slots[cardinality(v_plan.slots)], b.planned_until)
      end,
      problem = v_plan.problem
    where b.id = v_plan.schedule_id and b.version = v_plan.version and b.planned_until = v_plan.planned_until;
    v_taken := v_taken + found::integer;
  end loop;
  return v_taken;
end
$$;
revoke execute on function public.plan_schedules(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.plan_schedules(jsonb) to service_role;
comment on function public.plan_schedules(jsonb) is 'For workers: adds the times that they computed to schedules.';
