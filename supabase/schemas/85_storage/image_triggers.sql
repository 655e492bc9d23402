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

create trigger batchgen_after_delete after delete on public.images
referencing old table as old_rows for each statement
when (current_user not in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('0');

-- The app removes the file before the row, and may store another file at the same path next: the delay spares that one.
create trigger batchgen_after_delete_by_app after delete on public.images
referencing old table as old_rows for each statement
when (current_user in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('600');

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

create trigger batchgen_after_move after update of storage_path, thumbnail_path on public.images
for each row when (
  new.storage_path is distinct from old.storage_path or new.thumbnail_path is distinct from old.thumbnail_path
)
execute function batchgen.after_image_moved();
