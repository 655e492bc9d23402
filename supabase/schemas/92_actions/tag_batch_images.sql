create function batchgen.tag_batch_images(p_batch_id uuid, p_tags text[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_names text[] := batchgen.clean_tags(p_tags);
  v_tag_ids uuid[];
  v_tagged uuid[];
begin
  insert into public.tags (name) select name from unnest(v_names) name order by name on conflict do nothing;
  perform batchgen.count_tags(auth.uid());
  v_tag_ids := array(select t.id from public.tags t where t.name = any (v_names));
  with tagged as (
    insert into public.image_tags (image_id, tag_id)
    select p.image_id, n.tag_id
    from batchgen.pictures_of(p_batch_id) p cross join unnest(v_tag_ids) n (tag_id)
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
      jsonb_build_object('image_id', p.image_id, 'tags', v_names)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_batch_id) p
  );
end
$$;
revoke execute on function batchgen.tag_batch_images(uuid, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.tag_batch_images(uuid, text[]) is 'Tags the pictures of a batch.';

-- tag_batch_images(p_batch_id, p_tags)
-- Tag the pictures of a batch.
-- Actions: tagged, already_tagged, with image_id and tags. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for an invalid tag; PT429 if the user has created too many.
create function public.tag_batch_images(p_batch_id uuid, p_tags text[]) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('tag', p_batch_id, p_tags)
$$;
revoke execute on function public.tag_batch_images(uuid, text[]) from public, anon, authenticated, service_role;
grant execute on function public.tag_batch_images(uuid, text[]) to authenticated, service_role;
comment on function public.tag_batch_images(uuid, text[]) is 'Tags the pictures of a batch; creates missing tags.';
