-- batchgen.live_workers: workers seen within settings.worker_silence_seconds, or within half a lease if that is longer:
-- a worker with long leases calls less often while all of its slots are taken.
create view batchgen.live_workers with (security_invoker = on) as
select w.worker, w.first_seen, w.last_seen, w.lease_seconds, w.version, w.providers
from batchgen.workers w cross join batchgen.settings s
where w.last_seen > clock_timestamp()
  - make_interval(secs => greatest(s.worker_silence_seconds, w.lease_seconds / 2.0));
revoke all on batchgen.live_workers from public, anon, authenticated, service_role;
comment on view batchgen.live_workers is 'Workers that are running, as far as the database can know.';
comment on column batchgen.live_workers.worker is 'Name of the worker, as in queue.worker.';
comment on column batchgen.live_workers.first_seen is 'When it first called.';
comment on column batchgen.live_workers.last_seen is 'When it last claimed or renewed, to within three seconds.';
comment on column batchgen.live_workers.lease_seconds is 'Length of its leases in seconds.';
comment on column batchgen.live_workers.version is 'Its version of batchgen, if it reports one.';
comment on column batchgen.live_workers.providers is 'Providers that it can order from, if it reports them.';
