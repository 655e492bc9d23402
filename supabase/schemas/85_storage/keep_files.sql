-- keep_files(p_generation_ids)
-- Items that are run again write to the same paths, so nobody may delete those now. It waits for whoever takes such a
-- deletion just now, and whoever takes one from here on sees the item's queue row and leaves it until the item has
-- ended; then a path that a row of images names is dropped. A deletion that is leased cannot be called back: the item
-- waits for its end (files_deleted_until). What others delete in folders of their own, whatever its name, is not waited
-- for.
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
comment on function batchgen.keep_files(uuid[]) is
  'Items that are run again keep their files: nobody may delete them now.';

create function batchgen.files_deleted_until(p_generation_id uuid) returns timestamptz
language sql security definer set search_path = '' as $$
  select max(d.lease_expires_at) from batchgen.storage_deletions d
  where d.generation_id = p_generation_id and d.lease_expires_at > clock_timestamp()
    and batchgen.is_in_folder((select g.user_id from public.image_generations g where g.id = p_generation_id), d.path)
$$;
revoke execute on function batchgen.files_deleted_until(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.files_deleted_until(uuid) is 'Until when a worker may be deleting the files of an item.';
