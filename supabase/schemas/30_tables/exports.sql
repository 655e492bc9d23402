-- Exports that users asked for. A worker builds the ZIP files under a lease and stores them in the private bucket
-- batchgen-exports, each at {user_id}/{export_id}/{attempt}/…. Every file is in the outbox before it is stored, so none
-- outlives its export, whatever happens to the worker.
create table batchgen.exports (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  batch_ids uuid[] not null constraint an_export_has_batches check (cardinality(batch_ids) between 1 and 100),
  status text not null default 'pending'
    constraint export_status_is_known check (status in ('pending', 'processing', 'ready', 'failed')),
  planned_bytes bigint not null constraint planned_bytes_not_negative check (planned_bytes >= 0),
  picture_count integer not null default 0 constraint picture_count_not_negative check (picture_count >= 0),
  done_count integer not null default 0 constraint done_count_not_negative check (done_count >= 0),
  missing_count integer not null default 0 constraint missing_count_not_negative check (missing_count >= 0),
  parts jsonb not null default '[]' constraint parts_is_a_list check (jsonb_typeof(parts) = 'array'),
  files text[] not null default '{}',
  attempts integer not null default 0 constraint export_attempts_in_range check (attempts between 0 and 1000),
  due_at timestamptz not null default now(),
  lease_id uuid,
  lease_expires_at timestamptz,
  worker text,
  error_code text,
  error_message text,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  expires_at timestamptz,
  constraint a_processing_export_has_a_lease check (
    (status = 'processing') = (lease_id is not null) and (lease_id is null) = (lease_expires_at is null)
    and (lease_id is null) = (worker is null)
  ),
  constraint an_ended_export_has_its_time check ((status in ('ready', 'failed')) = (ended_at is not null)),
  constraint a_ready_export_expires check ((status = 'ready') = (expires_at is not null))
);
create index exports_of_a_user on batchgen.exports (user_id, created_at desc);
create unique index exports_open_once on batchgen.exports (user_id, batch_ids)
where status in ('pending', 'processing');
create index exports_open on batchgen.exports (due_at) where status in ('pending', 'processing');

alter table batchgen.exports enable row level security;
create policy "Nobody" on batchgen.exports for all to public using (false);
revoke all on batchgen.exports from public, anon, authenticated, service_role;

comment on table batchgen.exports is
  'ZIP files of batches that users asked for. Ended exports are kept for 30 days, their files for export_hours.';
comment on column batchgen.exports.id is 'Primary key; part of the paths of the files.';
comment on column batchgen.exports.user_id is 'The user who asked, owner of all the batches.';
comment on column batchgen.exports.batch_ids is 'The batches, sorted, each once.';
comment on column batchgen.exports.status is
  'pending: waits for a worker, or for its retry; processing: a worker builds it; ready; failed.';
comment on column batchgen.exports.planned_bytes is
  'Size of the pictures when the user asked; counts against the daily limit.';
comment on column batchgen.exports.picture_count is
  'Pictures: those expected when the user asked, then those in the files.';
comment on column batchgen.exports.done_count is 'Pictures that the current attempt has written.';
comment on column batchgen.exports.missing_count is
  'Items and pictures without a file; the manifests give the reasons.';
comment on column batchgen.exports.parts is 'The files of a ready export: [{name, path, bytes, url}].';
comment on column batchgen.exports.files is 'Paths of all files that any attempt may have stored.';
comment on column batchgen.exports.attempts is 'How often a worker began it.';
comment on column batchgen.exports.due_at is 'Earliest time to take it; moves later after each failed attempt.';
comment on column batchgen.exports.lease_id is 'Lease of the worker that builds it.';
comment on column batchgen.exports.lease_expires_at is 'After this, another worker may take it.';
comment on column batchgen.exports.worker is 'The worker that builds it.';
comment on column batchgen.exports.error_code is 'Why the last attempt failed, for programs.';
comment on column batchgen.exports.error_message is 'Why the last attempt failed, for people.';
comment on column batchgen.exports.created_at is 'When the user asked.';
comment on column batchgen.exports.ended_at is 'When it became ready or failed.';
comment on column batchgen.exports.expires_at is 'When its links end and its files go.';
