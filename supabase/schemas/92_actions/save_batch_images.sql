create function batchgen.save_batch_images(p_ids uuid[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_saved uuid[];
begin
  with saved as (
    update public.images i set saved_at = clock_timestamp()
    where i.id in (select p.image_id from batchgen.pictures_of(p_ids) p) and i.saved_at is null
    returning i.id
  )
  select coalesce(array_agg(id), '{}') into v_saved from saved;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_saved)
        then 'saved' else 'already_saved' end,
      jsonb_build_object('image_id', p.image_id)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.save_batch_images(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.save_batch_images(uuid[]) is 'Marks the pictures of items as saved.';

-- save_batch_images(p_batch_id, p_generation_ids)
-- Mark the pictures of a batch, or of the named items, as saved.
-- Actions: saved, already_saved, with image_id. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for too many ids.
create function public.save_batch_images(p_batch_id uuid, p_generation_ids uuid[] default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('save', p_batch_id, p_generation_ids)
$$;
revoke execute on function public.save_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.save_batch_images(uuid, uuid[]) to authenticated, service_role;
comment on function public.save_batch_images(uuid, uuid[]) is
  'Marks the pictures of a batch, all or those of the named items, as saved, so that retention keeps them.';
