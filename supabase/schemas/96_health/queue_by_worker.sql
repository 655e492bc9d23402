create view batchgen.queue_by_worker with (security_invoker = on) as
select q.worker, count(*) as running,
  count(*) filter (where q.lease_expires_at <= now()) as expired_leases,
  date_trunc('second', now() - min(q.started_at)) as longest_run,
  min(q.lease_expires_at) as first_lease_expires_at
from batchgen.queue q
where q.state = 'running'
group by q.worker;
revoke all on batchgen.queue_by_worker from public, anon, authenticated, service_role;
comment on view batchgen.queue_by_worker is 'Who runs items now.';
comment on column batchgen.queue_by_worker.worker is 'The worker''s name.';
comment on column batchgen.queue_by_worker.running is 'Items that it runs.';
comment on column batchgen.queue_by_worker.expired_leases is
  'Items whose lease it did not renew in time: it is gone, or cut off.';
comment on column batchgen.queue_by_worker.longest_run is 'How long its oldest attempt has been running.';
comment on column batchgen.queue_by_worker.first_lease_expires_at is
  'When the first of its leases ends if it does not renew them.';
