-- Which workers there are: a row for each, written by calls that a worker makes anyway (claims and renewals), at most
-- every three seconds, so that an idle worker costs one small update per poll.
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
-- No index but the key, and room on each page: the updates are HOT, and the next one clears up after them.
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

alter table batchgen.workers enable row level security;
create policy "Nobody" on batchgen.workers for all to public using (false);
revoke all on batchgen.workers from public, anon, authenticated, service_role;

comment on table batchgen.workers is
  'Workers that called within the last day. A worker that has ended keeps its row until then.';
comment on column batchgen.workers.worker is 'The worker''s name, as in queue.worker.';
comment on column batchgen.workers.first_seen is 'When it first called.';
comment on column batchgen.workers.last_seen is 'When it last claimed or renewed, to within three seconds.';
comment on column batchgen.workers.lease_seconds is
  'How long its leases are: it renews them at a third of that, at the latest.';
comment on column batchgen.workers.version is 'Its version of batchgen, where it tells.';
comment on column batchgen.workers.providers is 'The providers that it can order from, where it tells.';
comment on column batchgen.workers.drains_until is
  'It is given nothing until its items have ended, to take one that runs alone; at most until then.';
