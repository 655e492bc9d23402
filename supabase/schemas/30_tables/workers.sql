-- Workers: one row each, written by calls that a worker makes anyway (claims and renewals), at most every three
-- seconds, so that an idle worker costs one small update per poll.
create table batchgen.workers (
  worker text primary key,
  first_seen timestamptz not null default clock_timestamp(),
  last_seen timestamptz not null default clock_timestamp(),
  lease_seconds integer not null constraint worker_lease_seconds_in_range check (lease_seconds between 1 and 86400),
  version text,
  providers text[],
  drains_until timestamptz,
  constraint worker_times_in_range check (
    first_seen between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
    and last_seen between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
  )
-- No index but the key, and free space on each page: updates are HOT, and the next one prunes the old row versions.
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

alter table batchgen.workers enable row level security;
create policy "Nobody" on batchgen.workers for all to public using (false);
revoke all on batchgen.workers from public, anon, authenticated, service_role;

comment on table batchgen.workers is
  'Workers that called within the last day. A worker that has ended keeps its row until then.';
comment on column batchgen.workers.worker is 'Name of the worker, as in queue.worker.';
comment on column batchgen.workers.first_seen is 'When it first called.';
comment on column batchgen.workers.last_seen is 'When it last claimed or renewed, to within three seconds.';
comment on column batchgen.workers.lease_seconds is
  'Length of its leases in seconds; it renews them after a third of that, at the latest.';
comment on column batchgen.workers.version is 'Its version of batchgen, if it reports one.';
comment on column batchgen.workers.providers is 'Providers that it can order from, if it reports them.';
comment on column batchgen.workers.drains_until is
  'It is given no items until its own have ended, so that it can take one that runs alone; until this time at the '
  'latest.';
