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
