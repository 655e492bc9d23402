create view batchgen.queue_health with (security_invoker = on) as
select h.*,
  case
    when h.overdue_leases > 0
      then 'Leases ended more than a minute ago and nobody took the items back: does a worker run?'
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
revoke all on batchgen.queue_health from public, anon, authenticated, service_role;
comment on view batchgen.queue_health is 'How the queue is now, in one row; remark says what to look at.';
comment on column batchgen.queue_health.waiting is 'Items that are due and wait for a slot.';
comment on column batchgen.queue_health.delayed is 'Items that wait for their next attempt.';
comment on column batchgen.queue_health.parked is
  'Items that are due, but whose provider or model is not to be asked now.';
comment on column batchgen.queue_health.suspects is
  'Items that a dead worker had, in whichever state: they run alone until an attempt has ended.';
comment on column batchgen.queue_health.users is 'Users with items that wait or run.';
comment on column batchgen.queue_health.workers is 'Workers that run items.';
comment on column batchgen.queue_health.oldest_wait is 'How long the item has been due that waits longest.';
comment on column batchgen.queue_health.expired_leases is
  'Running items whose lease has ended: their worker is gone, and the next claim takes them back.';
comment on column batchgen.queue_health.overdue_leases is
  'Those whose lease ended more than a minute ago: nobody claims.';
comment on column batchgen.queue_health.running_at_most is 'max_parallel_global of batchgen.settings.';
comment on column batchgen.queue_health.live_workers is
  'Workers that have called lately, whether or not they run items: see get_workers().';
comment on column batchgen.queue_health.providers_paused is 'Providers that asked to wait and are not asked now.';
comment on column batchgen.queue_health.breakers_open is
  'Models that are left alone, or tried with one item, because they kept failing.';
comment on column batchgen.queue_health.failed_last_hour is 'Items that failed within the last hour.';
comment on column batchgen.queue_health.running is 'Items that run.';
comment on column batchgen.queue_health.remark is 'What an admin should look at; empty where all is well.';
