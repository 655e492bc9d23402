-- Files that are to be deleted: an outbox that workers drain by the Storage API, since only that removes files. It is fed
-- where rows of images go, whoever deletes them, in that same transaction. So a picture's row and its file both stay or
-- both go, with one exception: while a row of images names a path, or an item that waits or runs will, its file is kept.
--
-- Locks: rows of the outbox come last, after items, queue rows and images.

-- "Saved" keeps a picture from the retention below.
alter table public.images add column if not exists saved_at timestamptz;
comment on column public.images.saved_at is 'When its owner saved the picture; saved ones are kept whatever image_retention_days says.';

alter table batchgen.settings add column image_retention_days integer
  -- squawk-ignore adding-field-with-default, constraint-missing-not-valid
  constraint image_retention_days_in_range check (image_retention_days between 1 and 36500);
comment on column batchgen.settings.image_retention_days is
  'Pictures of batches that nobody saved or marked as a favourite are deleted after so many days; empty: never.';

create table batchgen.storage_deletions (
  id bigint generated always as identity primary key,
  bucket_id text not null default 'generated-images',
  path text not null,
  generation_id uuid generated always as (
    substring(path from '^[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[^/]*)?$')::uuid
  ) stored,
  due_at timestamptz not null default now(),
  attempts integer not null default 0 constraint deletion_attempts_in_range check (attempts between 0 and 1000000000),
  lease_id uuid,
  lease_expires_at timestamptz,
  worker text,
  created_at timestamptz not null default now(),
  constraint a_file_is_deleted_once unique (bucket_id, path),
  constraint a_lease_is_whole check (
    (lease_id is null) = (lease_expires_at is null) and (lease_id is null) = (worker is null)
  )
);
comment on table batchgen.storage_deletions is 'Files to be deleted by a worker; a row goes when its file is gone.';
comment on column batchgen.storage_deletions.generation_id is
  'Whose picture the path is made for ({user_id}/{generation_id}.{format}); empty for other paths. The item may be gone.';
comment on column batchgen.storage_deletions.due_at is 'Nobody takes it before this time: later after each attempt that came to nothing.';
comment on column batchgen.storage_deletions.attempts is 'How often a worker took it.';
create index storage_deletions_due on batchgen.storage_deletions (due_at, id);
create index storage_deletions_generation on batchgen.storage_deletions (generation_id);
create unique index storage_deletions_lease on batchgen.storage_deletions (lease_id) where lease_id is not null;
alter table batchgen.storage_deletions enable row level security;
create policy "Nobody" on batchgen.storage_deletions for all to public using (false);
revoke all on batchgen.storage_deletions from public, anon, authenticated, service_role;

-- Whether a row names a file, and which pictures the retention may take. Both tables are the app's, and may be large.
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_storage_path on public.images (storage_path);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_unsaved on public.images (created_at) where saved_at is null;

-- batchgen.is_in_folder(p_user_id, p_path): whether the path lies in the user's folder of the bucket and nowhere else.
create function batchgen.is_in_folder(p_user_id uuid, p_path text) returns boolean
language sql immutable set search_path = '' as $$
  -- In bytes: the path is a key of two indexes, and those hold no more than 2,700 of them.
  select coalesce(octet_length(p_path) <= 1024 and starts_with(p_path, p_user_id || '/') and p_path !~ '(^|/)(\.\.?)?(/|$)', false)
$$;
revoke execute on function batchgen.is_in_folder(uuid, text) from public, anon, authenticated, service_role;

-- Puts the files of deleted rows into the outbox, due after as many seconds as the trigger says. A path outside the
-- owner's folder was never made by us, and is not ours to delete.
create function batchgen.after_images_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.storage_deletions as d (path, due_at)
  select distinct o.storage_path, clock_timestamp() + make_interval(secs => tg_argv[0]::double precision)
  from old_rows o where batchgen.is_in_folder(o.user_id, o.storage_path)
  on conflict on constraint a_file_is_deleted_once do update
    -- Whoever has it leased may have deleted the file that was there before.
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null;
  return null;
end
$$;
revoke execute on function batchgen.after_images_deleted() from public, anon, authenticated, service_role;
create trigger batchgen_after_delete after delete on public.images
referencing old table as old_rows for each statement
when (current_user not in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('0');
-- The app removes the file first and then the row. What it may store at the same path next is not touched.
create trigger batchgen_after_delete_by_app after delete on public.images
referencing old table as old_rows for each statement
when (current_user in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('600');

-- batchgen.delete_images(p_image_ids)
-- Deletes rows of images, and so their files. Pictures that were made from them stay, and name no source any more.
create function batchgen.delete_images(p_image_ids uuid[]) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_deleted integer;
begin
  update public.images i set source_image_id = null where i.source_image_id = any (p_image_ids);
  delete from public.images i where i.id = any (p_image_ids);
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;
revoke execute on function batchgen.delete_images(uuid[]) from public, anon, authenticated, service_role;

-- batchgen.keep_files(p_generation_ids): items that are run again write to the same paths, so nobody may delete those now.
-- A deletion that is leased just now cannot be called back: the item waits for its end (files_deleted_until).
create function batchgen.keep_files(p_generation_ids uuid[]) returns void
language sql security definer set search_path = '' as $$
  delete from batchgen.storage_deletions d
  where d.generation_id = any (p_generation_ids) and (d.lease_id is null or d.lease_expires_at <= clock_timestamp())
$$;
revoke execute on function batchgen.keep_files(uuid[]) from public, anon, authenticated, service_role;

create function batchgen.files_deleted_until(p_generation_id uuid) returns timestamptz
language sql security definer set search_path = '' as $$
  select max(d.lease_expires_at) from batchgen.storage_deletions d
  where d.generation_id = p_generation_id and d.lease_expires_at > clock_timestamp()
$$;
revoke execute on function batchgen.files_deleted_until(uuid) from public, anon, authenticated, service_role;

-- batchgen.deletion_backoff_seconds(p_attempts): 0 after the first attempt, whose worker may just have died; then 30 s, doubling to 1 h.
create function batchgen.deletion_backoff_seconds(p_attempts integer) returns double precision
language sql immutable set search_path = '' as $$
  select case when p_attempts <= 1 then 0 else least(3600, 30 * 2.0 ^ least(p_attempts - 2, 20)) end
$$;
revoke execute on function batchgen.deletion_backoff_seconds(integer) from public, anon, authenticated, service_role;

-- take_storage_deletions(p_worker, p_limit, p_lease_seconds)
-- Leases up to p_limit files to be deleted, oldest first. Delete them within the lease, then call end_storage_deletions.
-- Never a file that a row of images names or that an item which waits or runs will write. Caller: service_role.
create function public.take_storage_deletions(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (deletion_id bigint, lease_id uuid, bucket_id text, path text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_ids bigint[];
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 1000', 'The Storage API deletes up to 1000 files at once.');
  end if;
  -- From here on these rows are locked: an item that enters the queue meanwhile waits, and then sees the lease.
  v_ids := array(
    select d.id from batchgen.storage_deletions d
    where d.due_at <= clock_timestamp() and (d.lease_id is null or d.lease_expires_at <= clock_timestamp())
      and not exists (select from batchgen.queue q where q.generation_id = d.generation_id)
    order by d.due_at, d.id limit p_limit for update skip locked
  );
  delete from batchgen.storage_deletions d
  where d.id = any (v_ids) and exists (select from public.images i where i.storage_path = d.path);
  return query
  update batchgen.storage_deletions d
  set lease_id = gen_random_uuid(), worker = p_worker, attempts = d.attempts + 1,
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
    due_at = clock_timestamp() + make_interval(secs => p_lease_seconds + batchgen.deletion_backoff_seconds(d.attempts + 1))
  where d.id = any (v_ids)
  returning d.id, d.lease_id, d.bucket_id, d.path;
end
$$;
revoke execute on function public.take_storage_deletions(text, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.take_storage_deletions(text, integer, integer) to service_role;
comment on function public.take_storage_deletions(text, integer, integer) is
  'For workers: leases files that are to be deleted by the Storage API.';

-- end_storage_deletions(p_worker, p_lease_ids)
-- The files are gone, or were never there. Returns how many rows went; leases that are not held any more are ignored.
create function public.end_storage_deletions(p_worker text, p_lease_ids uuid[]) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_ended integer;
begin
  delete from batchgen.storage_deletions d
  where d.lease_id = any (p_lease_ids) and d.worker = p_worker and d.lease_expires_at > clock_timestamp();
  get diagnostics v_ended = row_count;
  return v_ended;
end
$$;
revoke execute on function public.end_storage_deletions(text, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.end_storage_deletions(text, uuid[]) to service_role;
comment on function public.end_storage_deletions(text, uuid[]) is 'For workers: says that leased files are deleted.';

-- remove_expired_images()
-- Deletes pictures that are older than settings.image_retention_days, rows at once and files through the outbox; at most
-- 500 a call. Returns how many. Only pictures that batches made, neither saved nor a favourite; a batch that is deleted
-- leaves its items their batch_index. Caller: service_role. Locks: skips rows that others hold.
create function public.remove_expired_images() returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_days integer := (select s.image_retention_days from batchgen.settings s);
begin
  if v_days is null then
    return 0;
  end if;
  return batchgen.delete_images(array(
    select i.id from public.images i join public.image_generations g on g.id = i.generation_id
    where i.saved_at is null and i.is_favorite is not true and g.batch_index is not null
      and i.created_at < clock_timestamp() - make_interval(days => v_days)
    order by i.created_at limit 500 for update of i skip locked
  ));
end
$$;
revoke execute on function public.remove_expired_images() from public, anon, authenticated, service_role;
grant execute on function public.remove_expired_images() to service_role;
comment on function public.remove_expired_images() is 'For workers: deletes unsaved pictures older than image_retention_days.';
