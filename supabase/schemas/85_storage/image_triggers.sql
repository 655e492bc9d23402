-- files_in_storage(p_bucket_id, p_paths)
-- Those paths at which Storage has a file. All of them where there is no Storage, or where its table is not for the
-- owner of this function to read whole.
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
  -- As a text, so that this function can be made and checked where the table is not.
  execute 'select array(select o.name from storage.objects o where o.bucket_id = $1 and o.name = any ($2))'
  into v_found using p_bucket_id, p_paths;
  return v_found;
end
$$;
revoke execute on function batchgen.files_in_storage(text, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.files_in_storage(text, text[]) is
  'Those of the paths at which Storage has a file, as far as its table can be read.';

-- after_images_deleted()
-- Puts the files of deleted rows into the outbox, due after as many seconds as the trigger says. A path outside the
-- owner's folder was never made by us, and is not ours to delete; one without a file is a user's invention, or was
-- removed by the app just before its row.
create function batchgen.after_images_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.storage_deletions as d (path, due_at)
  select f.path, clock_timestamp() + make_interval(secs => tg_argv[0]::double precision)
  from unnest(batchgen.files_in_storage('generated-images', array(
    select distinct o.storage_path from old_rows o where batchgen.is_in_folder(o.user_id, o.storage_path)
  ))) f (path)
  on conflict on constraint a_file_is_deleted_once do update
    -- Whoever has it leased may have deleted the file that was there before.
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null;
  return null;
end
$$;
revoke execute on function batchgen.after_images_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_images_deleted() is
  'Trigger: the files of deleted pictures go into storage_deletions.';

create trigger batchgen_after_delete after delete on public.images
referencing old table as old_rows for each statement
when (current_user not in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('0');

-- The app removes the file first and then the row. What it may store at the same path next is not touched.
create trigger batchgen_after_delete_by_app after delete on public.images
referencing old table as old_rows for each statement
when (current_user in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('600');

-- after_image_moved()
-- A picture that is replaced under another path leaves the old file.
create function batchgen.after_image_moved() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.storage_deletions as d (path)
  select old.storage_path where batchgen.is_in_folder(old.user_id, old.storage_path)
  on conflict on constraint a_file_is_deleted_once do update
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null;
  return null;
end
$$;
revoke execute on function batchgen.after_image_moved() from public, anon, authenticated, service_role;
comment on function batchgen.after_image_moved() is
  'Trigger: the old file of a picture that has another one is deleted.';

create trigger batchgen_after_move after update of storage_path on public.images
for each row when (new.storage_path is distinct from old.storage_path) execute function batchgen.after_image_moved();
