-- How the queue is, for admins: views in the schema batchgen, to be read in the dashboard's Table Editor (choose the
-- schema batchgen) or in SQL. They name users by id and show no prompt. Nobody is granted anything: they read as their
-- caller, and but for the owner of the tables nobody reads those.

-- squawk-ignore require-concurrent-index-creation
create index failures_by_time on batchgen.failures (failed_at);

-- How many items are in which state, and since when the one that waits longest has been due.
create view batchgen.queue_by_user with (security_invoker = on) as
select q.user_id,
  count(*) filter (where q.state = 'running') as running,
  count(*) filter (where q.state = 'waiting') as waiting,
  count(*) filter (where q.state = 'delayed') as delayed,
  count(*) filter (where q.state = 'parked') as parked,
  date_trunc('second', now() - min(q.due_at) filter (where q.state in ('waiting', 'parked'))) as oldest_wait
from batchgen.queue q
group by q.user_id;

create view batchgen.queue_by_model with (security_invoker = on) as
select q.model_id, m.display_name as model, batchgen.provider_of(q.model_id) as provider,
  q.running, q.waiting, q.delayed, q.parked, q.oldest_wait,
  (select p.not_before from batchgen.providers p where p.name = batchgen.provider_of(q.model_id) and p.not_before > now()) as provider_paused_until,
  b.opened_until as breaker_open_until,
  coalesce(cardinality(b.failed_generation_ids), 0) as faults
from (
  select i.model_id,
    count(*) filter (where i.state = 'running') as running,
    count(*) filter (where i.state = 'waiting') as waiting,
    count(*) filter (where i.state = 'delayed') as delayed,
    count(*) filter (where i.state = 'parked') as parked,
    date_trunc('second', now() - min(i.due_at) filter (where i.state in ('waiting', 'parked'))) as oldest_wait
  from batchgen.queue i
  group by i.model_id
) q
left join public.models m on m.id = q.model_id
left join batchgen.breakers b on b.model_id = q.model_id;

create view batchgen.queue_by_worker with (security_invoker = on) as
select q.worker, count(*) as running,
  count(*) filter (where q.lease_expires_at <= now()) as expired_leases,
  date_trunc('second', now() - min(q.started_at)) as longest_run,
  min(q.lease_expires_at) as first_lease_expires_at
from batchgen.queue q
where q.state = 'running'
group by q.worker;

create view batchgen.recent_failures with (security_invoker = on) as
select f.code,
  count(*) filter (where f.failed_at > now() - interval '1 hour') as last_hour,
  count(*) filter (where f.failed_at > now() - interval '1 day') as last_day,
  count(*) as last_week,
  max(f.failed_at) as last_failed_at
from batchgen.failures f
where f.failed_at > now() - interval '7 days'
group by f.code;

create view batchgen.queue_health with (security_invoker = on) as
select h.*,
  case
    when h.overdue_leases > 0 then 'Leases ended more than a minute ago and nobody took the items back: does a worker run?'
    when h.waiting > 0 and h.running = 0 and h.oldest_wait > interval '1 minute' then case
      when h.live_workers = 0 then 'Items wait and none runs: does a worker run?'
      else 'Items wait and none runs, although a worker calls: batch_waits says why each item waits.'
    end
    when h.delayed + h.parked > 0 and h.running = 0 and h.live_workers = 0
      then 'Items wait for their time or their provider, and no worker calls: does a worker run?'
    when h.parked > 0 then 'Items wait for a provider or a model that is not to be asked now: see queue_by_model.'
    when h.running >= h.running_at_most then 'As many items run as may: see max_parallel_global in settings.'
  end as remark
from (
  select q.*, s.max_parallel_global as running_at_most,
    (select count(*) from batchgen.live_workers) as live_workers,
    (select count(*) from batchgen.providers p where p.not_before > now()) as providers_paused,
    (select count(*) from batchgen.breakers b where b.opened_until is not null) as breakers_open,
    (select count(*) from batchgen.failures f where f.failed_at > now() - interval '1 hour') as failed_last_hour
  from (
    select count(*) filter (where i.state = 'running') as running,
      count(*) filter (where i.state = 'waiting') as waiting,
      count(*) filter (where i.state = 'delayed') as delayed,
      count(*) filter (where i.state = 'parked') as parked,
      count(*) filter (where i.is_suspect) as suspects,
      count(distinct i.user_id) as users,
      count(distinct i.worker) as workers,
      date_trunc('second', now() - min(i.due_at) filter (where i.state in ('waiting', 'parked'))) as oldest_wait,
      count(*) filter (where i.lease_expires_at <= now()) as expired_leases,
      count(*) filter (where i.lease_expires_at <= now() - interval '1 minute') as overdue_leases
    from batchgen.queue i
  ) q
  cross join batchgen.settings s
) h;

revoke all on batchgen.queue_by_user, batchgen.queue_by_model, batchgen.queue_by_worker, batchgen.recent_failures, batchgen.queue_health
from public, anon, authenticated, service_role;
