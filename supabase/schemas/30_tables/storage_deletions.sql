-- Files that are to be deleted: an outbox that workers drain by the Storage API, since only that removes files. It is
-- fed where rows of images go, whoever deletes them, in that same transaction. So a picture's row and its file both
-- stay or both go, with one exception: while a row of images names a path, or an item that waits or runs will, its file
-- is kept.
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

comment on table batchgen.storage_deletions is 'Files to be deleted by a worker; a row goes when its file is gone.';
comment on column batchgen.storage_deletions.id is 'A number of no meaning.';
comment on column batchgen.storage_deletions.bucket_id is 'The bucket in which the file lies.';
comment on column batchgen.storage_deletions.path is 'Where the file lies in its bucket.';
comment on column batchgen.storage_deletions.generation_id is
  'Whose picture the path is made for, where it lies in the folder of that item''s owner '
  '({user_id}/{generation_id}.{format}); empty for other paths. The item may be gone.';
comment on column batchgen.storage_deletions.due_at is
  'Nobody takes it before this time: later after each attempt that came to nothing.';
comment on column batchgen.storage_deletions.attempts is 'How often a worker took it.';
comment on column batchgen.storage_deletions.lease_id is 'The right of a worker to delete the file now.';
comment on column batchgen.storage_deletions.lease_expires_at is 'After this another worker may take it.';
comment on column batchgen.storage_deletions.worker is 'Who deletes the file now.';
comment on column batchgen.storage_deletions.created_at is 'When the file''s row was deleted.';
