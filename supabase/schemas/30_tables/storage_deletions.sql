-- The outbox: files to delete. Workers drain it through the Storage API, the only way to remove files. A row is added
-- in the transaction that deletes rows of images, whoever deletes them, so a picture's row and its file both stay or
-- both go, with one exception: a file is kept while a row of images names its path, or while a waiting or running item
-- will.
create table batchgen.storage_deletions (
  id bigint generated always as identity primary key,
  bucket_id text not null default 'generated-images',
  path text not null,
  generation_id uuid generated always as (
    substring(path from '^[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[^/]*)?$')::uuid
  ) stored,
  due_at timestamptz not null default now(),
  attempts integer not null default 0
    constraint deletion_attempts_in_range check (attempts between 0 and 1000000000),
  lease_id uuid,
  lease_expires_at timestamptz,
  worker text,
  created_at timestamptz not null default now(),
  constraint a_file_is_deleted_once unique (bucket_id, path),
  constraint a_lease_is_whole check (
    (lease_id is null) = (lease_expires_at is null) and (lease_id is null) = (worker is null)
  )
);
create index storage_deletions_due on batchgen.storage_deletions (due_at, id);
create index storage_deletions_generation on batchgen.storage_deletions (generation_id);
create unique index storage_deletions_lease on batchgen.storage_deletions (lease_id) where lease_id is not null;

alter table batchgen.storage_deletions enable row level security;
create policy "Nobody" on batchgen.storage_deletions for all to public using (false);
revoke all on batchgen.storage_deletions from public, anon, authenticated, service_role;

comment on table batchgen.storage_deletions is
  'Outbox: files that a worker will delete; a row goes when its file is gone.';
comment on column batchgen.storage_deletions.id is 'Surrogate key.';
comment on column batchgen.storage_deletions.bucket_id is 'Bucket of the file.';
comment on column batchgen.storage_deletions.path is 'Path of the file in its bucket.';
comment on column batchgen.storage_deletions.generation_id is
  'Item whose picture has this path ({user_id}/{generation_id}.{format}, in the folder of its owner); empty for other '
  'paths. The item may be gone.';
comment on column batchgen.storage_deletions.due_at is
  'Earliest time to take the row; moves later after each failed attempt.';
comment on column batchgen.storage_deletions.attempts is 'How often a worker took the row.';
comment on column batchgen.storage_deletions.lease_id is 'Lease of the worker that deletes the file.';
comment on column batchgen.storage_deletions.lease_expires_at is 'After this, another worker may take the row.';
comment on column batchgen.storage_deletions.worker is 'The worker that deletes the file.';
comment on column batchgen.storage_deletions.created_at is 'When the row of images was deleted.';
