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
