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
