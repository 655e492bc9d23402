-- delete_images(p_image_ids)
-- Delete rows of images, and thereby their files. Pictures made from them stay, without a source.
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
comment on function batchgen.delete_images(uuid[]) is
  'Deletes pictures; their files go to the outbox (storage_deletions).';

-- discard_files(p_user_id, p_generation_id, p_seconds, p_paths)
-- Discard files that a worker stored, or may store, for an item: they are deleted after p_seconds unless the item runs
-- then or a row of images names them. p_paths: the files, in the user's folder; by default those of the item's plain
-- names. A worker that has lost the item discards its files; before it stores one of another name, it announces that
-- file in this way.
-- Caller: service_role.
create function public.discard_files(
  p_user_id uuid, p_generation_id uuid, p_seconds double precision, p_paths text[] default null
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or p_generation_id is null then
    perform batchgen.refuse_argument('p_generation_id', 'or p_user_id is empty', 'Send the ids of the claim.');
  end if;
  if p_seconds is null or not p_seconds between 0 and 86400 then
    perform batchgen.refuse_argument('p_seconds', 'is not between 0 and 86400',
      'Send how many seconds an upload may still take.');
  end if;
  if p_paths is null then
    perform batchgen.suspect_files(p_user_id, p_generation_id, clock_timestamp() + make_interval(secs => p_seconds));
    return;
  end if;
  if cardinality(p_paths) > 10 or exists (
    select from unnest(p_paths) p (path) where not batchgen.is_in_folder(p_user_id, p.path)
  ) then
    perform batchgen.refuse_argument('p_paths', 'has more than 10 paths, or one outside the owner''s folder',
      'Send paths such as {user_id}/{generation_id}.thumb.webp.');
  end if;
  perform batchgen.suspect_paths(p_paths, clock_timestamp() + make_interval(secs => p_seconds));
end
$$;
revoke execute on function public.discard_files(uuid, uuid, double precision, text[])
from public, anon, authenticated, service_role;
grant execute on function public.discard_files(uuid, uuid, double precision, text[]) to service_role;
comment on function public.discard_files(uuid, uuid, double precision, text[]) is
  'For workers: deletes files that a worker stored for an item, unless a row of images names them.';

-- end_storage_deletions(p_worker, p_lease_ids)
-- Remove rows whose files are gone, or never existed. Returns their number; leases no longer held are ignored.
-- Caller: service_role.
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
comment on function public.end_storage_deletions(text, uuid[]) is
  'For workers: confirms that leased files are deleted.';

-- files_in_storage(p_bucket_id, p_paths)
-- The paths at which Storage has a file. Returns all of them if there is no Storage, or if the owner of this function
-- may not read all rows of its table.
create function batchgen.files_in_storage(p_bucket_id text, p_paths text[]) returns text[]
language plpgsql security definer set search_path = '' as $$
declare
  v_found text[];
begin
  -- By the catalog, since to_regclass is an error where the schema may not be used.
  if not exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'storage' and c.relname = 'objects' and has_schema_privilege(n.oid, 'usage')
      and has_table_privilege(c.oid, 'select') and not row_security_active(c.oid)
  ) then
    return p_paths;
  end if;
  -- As dynamic SQL, so that this function can be created and checked where the table does not exist.
  execute 'select array(select o.name from storage.objects o where o.bucket_id = $1 and o.name = any ($2))'
  into v_found using p_bucket_id, p_paths;
  return v_found;
end
$$;
revoke execute on function batchgen.files_in_storage(text, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.files_in_storage(text, text[]) is
  'The paths at which Storage has a file, as far as its table can be read.';

-- after_images_deleted()
-- Put the files of deleted rows into the outbox, thumbnails due at once and pictures after the trigger's number of
-- seconds, and take the rows out of the trash.
-- Skips paths outside the owner's folder, which batchgen never made and must not delete, and paths without a file: made
-- up by a user, or removed by the app just before its row.
create function batchgen.after_images_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.storage_deletions as d (path, due_at)
  select f.path, clock_timestamp() + case
    when exists (select from old_rows o where o.storage_path = f.path)
      then make_interval(secs => tg_argv[0]::double precision)
    else '0'
  end
  from unnest(batchgen.files_in_storage('generated-images', array(
    select distinct p.path from old_rows o cross join lateral (values (o.storage_path), (o.thumbnail_path)) p (path)
    where batchgen.is_in_folder(o.user_id, p.path)
  ))) f (path)
  on conflict on constraint a_file_is_deleted_once do update
    -- The worker that leased it may have deleted the earlier file at this path.
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null;
  delete from batchgen.trashed_images t using old_rows o where t.image_id = o.id;
  return null;
end
$$;
revoke execute on function batchgen.after_images_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_images_deleted() is
  'Trigger: puts the files of deleted pictures into the outbox, and takes them out of the trash.';

-- after_image_moved()
-- Put the old file of a picture or a thumbnail into the outbox when its row gets another path.
create function batchgen.after_image_moved() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.storage_deletions as d (path)
  select p.before
  from (values (old.storage_path, new.storage_path), (old.thumbnail_path, new.thumbnail_path)) p (before, after)
  where p.before is distinct from p.after and batchgen.is_in_folder(old.user_id, p.before) order by p.before
  on conflict on constraint a_file_is_deleted_once do update
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null;
  return null;
end
$$;
revoke execute on function batchgen.after_image_moved() from public, anon, authenticated, service_role;
comment on function batchgen.after_image_moved() is 'Trigger: puts the old file of a moved picture into the outbox.';

-- keep_files(p_generation_ids)
-- Keep workers from deleting the files of items that run again, which write to the same paths. Waits for a session that
-- is taking such a deletion; a later one sees the item's queue row and leaves the deletion until the item has ended,
-- and then drops it if a row of images names the path. A leased deletion cannot be called back: the item waits for its
-- end (files_deleted_until). Deletions in folders of other users, whatever the file name, are not waited for.
create function batchgen.keep_files(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from batchgen.storage_deletions d
  where d.generation_id = any (p_generation_ids)
    and batchgen.is_in_folder((select g.user_id from public.image_generations g where g.id = d.generation_id), d.path)
  for no key update;
end
$$;
revoke execute on function batchgen.keep_files(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.keep_files(uuid[]) is 'Keeps workers from deleting the files of items that run again.';

create function batchgen.files_deleted_until(p_generation_id uuid) returns timestamptz
language sql security definer set search_path = '' as $$
  select max(d.lease_expires_at) from batchgen.storage_deletions d
  where d.generation_id = p_generation_id and d.lease_expires_at > clock_timestamp()
    and batchgen.is_in_folder((select g.user_id from public.image_generations g where g.id = p_generation_id), d.path)
$$;
revoke execute on function batchgen.files_deleted_until(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.files_deleted_until(uuid) is 'Until when a worker may be deleting files of an item.';

-- remove_expired_images()
-- Delete pictures older than settings.image_retention_days, and what has been in the trash for settings.trash_days:
-- rows at once, files through the outbox, at most 500 of each per call. Returns the number of pictures and batches.
-- Retention deletes only pictures of batches that are neither saved nor favourites; batch_index identifies them, since
-- it outlives the batch.
-- Caller: service_role.
-- Locks: skips locked rows.
create function public.remove_expired_images() returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_trash record;
  v_deleted integer := 0;
begin
  select s.* into v_settings from batchgen.settings s;
  select d.* into v_trash
  from batchgen.delete_trash(null, clock_timestamp() - make_interval(days => v_settings.trash_days), 500) d;
  if v_settings.image_retention_days is not null then
    v_deleted := batchgen.delete_images(array(
      select i.id from public.images i join public.image_generations g on g.id = i.generation_id
      where i.saved_at is null and i.is_favorite is not true and g.batch_index is not null
        and i.created_at < clock_timestamp() - make_interval(days => v_settings.image_retention_days)
      order by i.created_at limit 500 for update of i skip locked
    ));
  end if;
  return v_deleted + v_trash.images + v_trash.batches;
end
$$;
revoke execute on function public.remove_expired_images() from public, anon, authenticated, service_role;
grant execute on function public.remove_expired_images() to service_role;
comment on function public.remove_expired_images() is
  'For workers: deletes unsaved pictures older than image_retention_days, and what is in the trash for trash_days.';

-- No file outlives its item. A worker stores a picture before it records it: if the item or the attempt ends in
-- between, the file has no row, and the file of a second attempt may have another format. So each path at which an item
-- may have left a file goes into the outbox when the item leaves the queue; the file is deleted unless a row of images
-- names it by then. Locks: rows of the outbox last.

-- suspect_paths(p_paths, p_due_at)
-- Put paths into the outbox for p_due_at.
create function batchgen.suspect_paths(p_paths text[], p_due_at timestamptz) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.storage_deletions as d (path, due_at)
  select distinct p.path, p_due_at from unnest(p_paths) p (path) order by 1
  on conflict on constraint a_file_is_deleted_once do update
    -- The worker that leased it may have deleted the earlier file at this path.
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null
$$;
revoke execute on function batchgen.suspect_paths(text[], timestamptz) from public, anon, authenticated, service_role;
comment on function batchgen.suspect_paths(text[], timestamptz) is 'Puts paths into the outbox.';

-- suspect_files(p_user_id, p_generation_id, p_due_at)
-- Put the paths of an item's picture, in every format that a worker stores, and of its thumbnail into the outbox for
-- p_due_at.
create function batchgen.suspect_files(p_user_id uuid, p_generation_id uuid, p_due_at timestamptz) returns void
language sql security definer set search_path = '' as $$
  select batchgen.suspect_paths(array(
    select format('%s/%s.%s', p_user_id, p_generation_id, f.format)
    from unnest(array['jpeg', 'png', 'thumb.webp', 'webp']) f (format)
  ), p_due_at)
$$;
revoke execute on function batchgen.suspect_files(uuid, uuid, timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.suspect_files(uuid, uuid, timestamptz) is
  'Puts the paths of an item''s picture and thumbnail into the outbox.';

create function batchgen.before_queue_attempt_ended() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.was_run := true;
  return new;
end
$$;
revoke execute on function batchgen.before_queue_attempt_ended() from public, anon, authenticated, service_role;
comment on function batchgen.before_queue_attempt_ended() is
  'Trigger: records that an attempt of an item ended without a picture.';

create trigger before_queue_attempt_ended before update of state on batchgen.queue
for each row when (old.state = 'running'
  and new.state <> 'running') execute function batchgen.before_queue_attempt_ended();

-- after_queue_left()
-- Put the paths of items that leave the queue into the outbox. If the item's own worker reported a failure, it stores
-- nothing more: due at once. Otherwise due a minute after the lease's end: a worker that obeys its lease has stopped by
-- then, and one that does not discards its files itself.
create function batchgen.after_queue_left() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.suspect_files(o.user_id, o.generation_id, case
    when o.state = 'running' and o.fault_code is not null then clock_timestamp()
    else greatest(clock_timestamp(), o.lease_expires_at) + interval '1 minute'
  end)
  from old_rows o left join public.image_generations g on g.id = o.generation_id
  where o.was_run or ((o.state = 'running' or g.started_at is not null) and g.status is distinct from 'completed')
  order by o.generation_id;
  return null;
end
$$;
revoke execute on function batchgen.after_queue_left() from public, anon, authenticated, service_role;
comment on function batchgen.after_queue_left() is
  'Trigger: puts files that ended items may have left into the outbox.';

create trigger after_queue_left after delete on batchgen.queue
referencing old table as old_rows for each statement execute function batchgen.after_queue_left();

-- deletion_backoff_seconds(p_attempts)
-- Seconds until the next attempt: 0 after the first, whose worker may just have died; then 30 s, doubling to 1 h.
create function batchgen.deletion_backoff_seconds(p_attempts integer) returns double precision
language sql immutable set search_path = '' as $$
  select case when p_attempts <= 1 then 0 else least(3600, 30 * 2.0 ^ least(p_attempts - 2, 20)) end
$$;
revoke execute on function batchgen.deletion_backoff_seconds(integer) from public, anon, authenticated, service_role;
comment on function batchgen.deletion_backoff_seconds(integer) is 'Seconds until the next attempt to delete a file.';

-- take_storage_deletions(p_worker, p_limit, p_lease_seconds)
-- Lease up to p_limit files to delete, oldest first. Delete them within the lease, then call end_storage_deletions.
-- Never returns a file that a row of images names, or that a waiting or running item will write.
-- Caller: service_role.
create function public.take_storage_deletions(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (deletion_id bigint, lease_id uuid, bucket_id text, path text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_ids bigint[] := '{}';
  v_more bigint[];
  v_existing text[];
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 1000',
      'The Storage API deletes up to 1000 files at once.');
  end if;
  while cardinality(v_ids) < p_limit loop
    -- These rows are locked from here on: an item that enters the queue meanwhile waits, and then sees the lease.
    v_more := array(
      select d.id from batchgen.storage_deletions d
      where d.due_at <= clock_timestamp() and (d.lease_id is null or d.lease_expires_at <= clock_timestamp())
        and d.id <> all (v_ids) and not exists (
          select from batchgen.queue q
          where q.generation_id = d.generation_id and batchgen.is_in_folder(q.user_id, d.path)
        )
      order by d.due_at, d.id limit p_limit - cardinality(v_ids) for update skip locked
    );
    exit when v_more = '{}';
    -- A file stays if a row of images names it; and a file may not exist, since some rows are made on suspicion.
    v_existing := array(
      select b.bucket_id || ' ' || unnest(batchgen.files_in_storage(b.bucket_id, b.paths))
      from (
        select d.bucket_id, array_agg(d.path) as paths from batchgen.storage_deletions d
        where d.id = any (v_more) group by d.bucket_id
      ) b
    );
    delete from batchgen.storage_deletions d
    where d.id = any (v_more)
      and (
        exists (select from public.images i where i.storage_path = d.path)
        or exists (select from public.images i where i.thumbnail_path = d.path)
        or d.bucket_id || ' ' || d.path <> all (v_existing)
      );
    v_ids := v_ids || array(select d.id from batchgen.storage_deletions d where d.id = any (v_more));
  end loop;
  return query
  update batchgen.storage_deletions d
  set lease_id = gen_random_uuid(), worker = p_worker, attempts = least(d.attempts, 1000000) + 1,
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
    due_at = clock_timestamp()
      + make_interval(secs => p_lease_seconds + batchgen.deletion_backoff_seconds(d.attempts + 1))
  where d.id = any (v_ids)
  returning d.id, d.lease_id, d.bucket_id, d.path;
end
$$;
revoke execute on function public.take_storage_deletions(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_storage_deletions(text, integer, integer) to service_role;
comment on function public.take_storage_deletions(text, integer, integer) is
  'For workers: leases files to delete through the Storage API.';

-- take_storage_deletions_as_json(p_worker, p_limit, p_lease_seconds)
-- take_storage_deletions as {deletions: [{deletion_id, lease_id, bucket_id, path}]}, one JSON value.
-- Caller: service_role.
-- Errors: as take_storage_deletions.
create function public.take_storage_deletions_as_json(
  p_worker text, p_limit integer, p_lease_seconds integer
) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('deletions', coalesce(jsonb_agg(to_jsonb(d)), '[]'))
  from public.take_storage_deletions(p_worker, p_limit, p_lease_seconds) d
$$;
revoke execute on function public.take_storage_deletions_as_json(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_storage_deletions_as_json(text, integer, integer) to service_role;
comment on function public.take_storage_deletions_as_json(text, integer, integer) is
  'For workers: take_storage_deletions, as {deletions: [{deletion_id, lease_id, bucket_id, path}]}.';

-- The bucket of finished pictures: public by URL, 50 MB per file, paths {user_id}/{generation_id}.{format}. Users can
-- access only their own folder; the worker writes with the secret key. A plain Postgres without Storage has no bucket.
--
-- Files that users store are not checked and are served from the API's own origin. So SVG, which may contain scripts,
-- is refused. And only workers write the paths of batch pictures, which they have checked: users may remove those files
-- but not replace them. Two restrictive policies enforce both against the app's own policies on the bucket, too.
create function batchgen_api.may_be_written(p_name text) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_name !~* '\.svgz?$' and not exists (
    select from public.image_generations g
    where g.batch_index is not null
      and g.id = substring(p_name from '^[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[^/]*)?$')::uuid
  )
$$;
revoke execute on function batchgen_api.may_be_written(text) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.may_be_written(text) to authenticated;
comment on function batchgen_api.may_be_written(text) is
  'True if a user may write a file at a path under any policy: not an SVG, not a picture of a batch.';

create function batchgen_api.may_store(p_name text) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_name ~* '\.(png|webp|jpe?g)$' and batchgen_api.may_be_written(p_name)
$$;
revoke execute on function batchgen_api.may_store(text) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.may_store(text) to authenticated;
comment on function batchgen_api.may_store(text) is
  'True if a user may store a file at a path: a raster image, not a picture of a batch.';

-- Hosted projects let the role postgres create policies on storage.objects, which it does not own. Without that right
-- or ownership the rest of the migration goes on, and a warning tells what the owner of Storage must run.
do $$
declare
  v_statement text;
begin
  if not exists (
    select from pg_class c
    where c.relnamespace::regnamespace::text = 'storage' and c.relname in ('buckets', 'objects')
    having count(*) = 2
  ) then
    return;
  end if;

  begin
    insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
    values (
      'generated-images', 'generated-images', true, 52428800,
      array['image/png', 'image/webp', 'image/jpeg', 'image/svg+xml']
    )
    on conflict (id) do nothing;
  exception when insufficient_privilege then
    raise warning using
      message = format('%I may not create the bucket generated-images: create it in the dashboard.', current_user),
      detail = 'Public; at most 50 MB a file; image/png, image/webp, image/jpeg, image/svg+xml.';
  end;

  if exists (
    select from pg_policies where schemaname = 'storage' and tablename = 'objects' and policyname like 'batchgen: %'
  ) then
    return;
  end if;
  foreach v_statement in array array[
    $p$create policy "batchgen: owners list their pictures" on storage.objects for select to authenticated
      using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text)$p$,
    $p$create policy "batchgen: owners store in their folder" on storage.objects for insert to authenticated
      with check (
        bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
        and batchgen_api.may_store(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$,
    $p$create policy "batchgen: owners replace their pictures" on storage.objects for update to authenticated
      using (
        bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
        and batchgen_api.may_store(name)
      )
      with check (
        bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
        and batchgen_api.may_store(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$,
    $p$create policy "batchgen: owners remove their pictures" on storage.objects for delete to authenticated
      using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text)$p$,
    $p$create policy "batchgen: nobody stores drawings or in place of workers" on storage.objects
      as restrictive for insert to authenticated with check (
        bucket_id is distinct from 'generated-images'
        or batchgen_api.may_be_written(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$,
    $p$create policy "batchgen: nobody replaces what workers stored" on storage.objects
      as restrictive for update to authenticated
      using (bucket_id is distinct from 'generated-images' or batchgen_api.may_be_written(name))
      with check (
        bucket_id is distinct from 'generated-images'
        or batchgen_api.may_be_written(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$
  ] loop
    begin
      execute v_statement;
    exception when insufficient_privilege then
      raise warning using message = format('%I may make no policies on storage.objects.', current_user),
        detail = v_statement, hint = 'Run it as the owner of storage.objects.';
    end;
  end loop;
end
$$;
