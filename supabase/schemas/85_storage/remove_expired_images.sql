-- remove_expired_images()
-- Delete pictures older than settings.image_retention_days: rows at once, files through the outbox, at most 500 per
-- call. Returns their number. Only pictures of batches that are neither saved nor favourites; batch_index identifies
-- them, since it outlives the batch.
-- Caller: service_role.
-- Locks: skips locked rows.
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
comment on function public.remove_expired_images() is
  'For workers: deletes unsaved pictures older than image_retention_days.';
