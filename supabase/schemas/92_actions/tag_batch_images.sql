create function batchgen.tag_batch_images(p_ids uuid[], p_names text[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_tag_ids uuid[];
  v_tagged uuid[];
begin
  insert into public.tags (name) select name from unnest(p_names) name order by name on conflict do nothing;
  perform batchgen.count_tags(auth.uid());
  v_tag_ids := array(select t.id from public.tags t where t.name = any (p_names));
  with tagged as (
    insert into public.image_tags (image_id, tag_id)
    select p.image_id, n.tag_id
    from batchgen.pictures_of(p_ids) p cross join unnest(v_tag_ids) n (tag_id)
    where p.image_id is not null
      and not exists (select from public.image_tags i where i.image_id = p.image_id and i.tag_id = n.tag_id)
    order by p.image_id, n.tag_id
    on conflict do nothing
    returning image_id
  )
  select coalesce(array_agg(distinct image_id), '{}') into v_tagged from tagged;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_tagged)
        then 'tagged' else 'already_tagged' end,
      jsonb_build_object('image_id', p.image_id, 'tags', p_names)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.tag_batch_images(uuid[], text[]) from public, anon, authenticated, service_role;
comment on function batchgen.tag_batch_images(uuid[], text[]) is 'Tags the pictures of items.';

-- tag_batch_images(p_batch_id, p_tags, p_generation_ids)
-- Tag the pictures of a batch, or of the named items.
-- Actions: tagged, already_tagged, with image_id and tags. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for an invalid tag or too many ids; PT429 if the user has created too many tags.
create function public.tag_batch_images(
  p_batch_id uuid, p_tags text[], p_generation_ids uuid[] default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('tag', p_batch_id, p_generation_ids,
    jsonb_build_object('tags', array(select t.name from unnest(p_tags) t (name))))
$$;
revoke execute on function public.tag_batch_images(uuid, text[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.tag_batch_images(uuid, text[], uuid[]) to authenticated, service_role;
comment on function public.tag_batch_images(uuid, text[], uuid[]) is
  'Tags the pictures of a batch, all or those of the named items; creates missing tags.';
