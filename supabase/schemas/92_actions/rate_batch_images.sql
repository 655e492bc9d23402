create function batchgen.rate_batch_images(p_ids uuid[], p_rating integer) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_rated uuid[];
begin
  if p_rating is not null then
    perform batchgen.check_stars(p_rating, 'p_rating');
  end if;
  with rated as (
    update public.images i set rating = p_rating
    where i.id in (select p.image_id from batchgen.pictures_of(p_ids) p) and i.rating is distinct from p_rating
    returning i.id
  )
  select coalesce(array_agg(id), '{}') into v_rated from rated;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_rated)
        then 'rated' else 'already_rated' end,
      jsonb_build_object('image_id', p.image_id, 'rating', p_rating)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.rate_batch_images(uuid[], integer) from public, anon, authenticated, service_role;
comment on function batchgen.rate_batch_images(uuid[], integer) is 'Rates the pictures of items.';

-- rate_batch_images(p_batch_id, p_rating, p_generation_ids)
-- Rate the pictures of a batch, or of the named items, with 1 to 5 stars; null removes the rating.
-- Actions: rated, already_rated, with image_id and rating. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for a rating out of range or too many ids.
create function public.rate_batch_images(
  p_batch_id uuid, p_rating integer, p_generation_ids uuid[] default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('rate', p_batch_id, p_generation_ids, jsonb_build_object('rating', p_rating))
$$;
revoke execute on function public.rate_batch_images(uuid, integer, uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.rate_batch_images(uuid, integer, uuid[]) to authenticated, service_role;
comment on function public.rate_batch_images(uuid, integer, uuid[]) is
  'Rates the pictures of a batch, all or those of the named items, with 1 to 5 stars.';
