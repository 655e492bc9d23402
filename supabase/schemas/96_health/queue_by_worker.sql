create view batchgen.queue_by_worker with (security_invoker = on) as
select q.worker, count(*) as running,
  count(*) filter (where q.lease_expires_at <= now()) as expired_leases,
  date_trunc('second', now() - min(q.started_at)) as longest_run,
  min(q.lease_expires_at) as first_lease_expires_at
from batchgen.queue q
where q.state = 'running'
group by q.worker;
revoke all on batchgen.queue_by_worker from public, anon, authenticated, service_role;
comment on view batchgen.queue_by_worker is 'Running items by worker.';
comment on column batchgen.queue_by_worker.worker is 'Name of the worker.';
comment on column batchgen.queue_by_worker.running is 'Items that the worker runs.';
comment on column batchgen.queue_by_worker.expired_leases is
  'Items whose lease the worker did not renew in time: it is gone, or cut off.';
comment on column batchgen.queue_by_worker.longest_run is 'Age of its oldest running attempt.';
comment on column batchgen.queue_by_worker.first_lease_expires_at is 'End of the first of its leases unless renewed.';
