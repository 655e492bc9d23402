create view batchgen.queue_health with (security_invoker = on) as
select h.*,
  case
    when h.overdue_leases > 0
      then 'Leases expired more than a minute ago, and no worker took the items back: is a worker running?'
    when h.waiting > 0 and h.running = 0 and h.oldest_wait > interval '1 minute' then case
      when h.live_workers = 0 then 'Items wait and none runs: is a worker running?'
      else 'Items wait and none runs, although a worker calls: batch_waits says why each item waits.'
    end
    when h.delayed + h.parked > 0 and h.running = 0 and h.live_workers = 0
      then 'Items are delayed or parked, and no worker calls: is a worker running?'
    when h.parked > 0 then 'Items wait for a paused provider or model: see queue_by_model.'
    when h.running >= h.running_at_most then 'The limit of running items is reached: see settings.max_parallel_global.'
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
revoke all on batchgen.queue_health from public, anon, authenticated, service_role;
comment on view batchgen.queue_health is 'State of the queue in one row; remark says what needs attention.';
comment on column batchgen.queue_health.waiting is 'Items that are due and wait for a slot.';
comment on column batchgen.queue_health.delayed is 'Items that wait for their next attempt.';
comment on column batchgen.queue_health.parked is 'Items that are due, but whose provider or model is paused.';
comment on column batchgen.queue_health.suspects is
  'Items, in any state, that a worker ran when it died: they run alone until an attempt has ended.';
comment on column batchgen.queue_health.users is 'Users with waiting or running items.';
comment on column batchgen.queue_health.workers is 'Workers that run items.';
comment on column batchgen.queue_health.oldest_wait is 'How long the longest-waiting item has been due.';
comment on column batchgen.queue_health.expired_leases is
  'Running items whose lease has expired: their worker is gone, and the next claim takes them back.';
comment on column batchgen.queue_health.overdue_leases is
  'Running items whose lease expired more than a minute ago: no worker claims.';
comment on column batchgen.queue_health.running_at_most is 'max_parallel_global in batchgen.settings.';
comment on column batchgen.queue_health.live_workers is
  'Workers that called lately, whether or not they run items: see get_workers().';
comment on column batchgen.queue_health.providers_paused is 'Providers that asked to wait and are paused now.';
comment on column batchgen.queue_health.breakers_open is
  'Models that are paused, or probed with one item, because they kept failing.';
comment on column batchgen.queue_health.failed_last_hour is 'Items that failed within the last hour.';
comment on column batchgen.queue_health.running is 'Running items.';
comment on column batchgen.queue_health.remark is 'What an admin should check; empty if all is well.';
