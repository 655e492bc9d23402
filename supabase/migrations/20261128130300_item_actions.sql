-- Items as they were before an edit: what an admin needs to tell why an item was blocked or charged twice.
create table batchgen.item_versions (
  id bigint generated always as identity primary key,
  generation_id uuid not null references public.image_generations (id) on delete cascade,
  prompt text,
  negative_prompt text,
  seed bigint,
  model_id uuid,
  error_code text,
  replaced_at timestamptz not null default clock_timestamp()
);
create index item_versions_generation on batchgen.item_versions (generation_id);

alter table batchgen.item_versions enable row level security;
create policy "Nobody" on batchgen.item_versions for all to public using (false);
revoke all on batchgen.item_versions from public, anon, authenticated, service_role;

comment on table batchgen.item_versions is
  'Earlier texts and settings of edited items, for admins. Users see only the ones in force.';
comment on column batchgen.item_versions.id is 'Surrogate key.';
comment on column batchgen.item_versions.generation_id is 'The item.';
comment on column batchgen.item_versions.prompt is 'Prompt before the edit.';
comment on column batchgen.item_versions.negative_prompt is 'Negative prompt before the edit.';
comment on column batchgen.item_versions.seed is 'Seed before the edit.';
comment on column batchgen.item_versions.model_id is 'Model before the edit.';
comment on column batchgen.item_versions.error_code is 'Error code with which the item had failed.';
comment on column batchgen.item_versions.replaced_at is 'When the item was edited.';

create function batchgen.untag_batch_images(p_ids uuid[], p_names text[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_untagged uuid[];
begin
  with untagged as (
    delete from public.image_tags x using public.tags t
    where t.id = x.tag_id and t.name = any (p_names)
      and x.image_id in (select p.image_id from batchgen.pictures_of(p_ids) p)
    returning x.image_id
  )
  select coalesce(array_agg(distinct image_id), '{}') into v_untagged from untagged;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_untagged)
        then 'untagged' else 'already_untagged' end,
      jsonb_build_object('image_id', p.image_id, 'tags', p_names)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.untag_batch_images(uuid[], text[]) from public, anon, authenticated, service_role;
comment on function batchgen.untag_batch_images(uuid[], text[]) is 'Removes tags from the pictures of items.';

-- untag_batch_images(p_batch_id, p_tags, p_generation_ids)
-- Remove tags from the pictures of a batch, or of the named items. The tags themselves stay.
-- Actions: untagged, already_untagged, with image_id and tags. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for an invalid tag or too many ids.
create function public.untag_batch_images(
  p_batch_id uuid, p_tags text[], p_generation_ids uuid[] default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('untag', p_batch_id, p_generation_ids,
    jsonb_build_object('tags', array(select t.name from unnest(p_tags) t (name))))
$$;
revoke execute on function public.untag_batch_images(uuid, text[], uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.untag_batch_images(uuid, text[], uuid[]) to authenticated, service_role;
comment on function public.untag_batch_images(uuid, text[], uuid[]) is
  'Removes tags from the pictures of a batch, all or those of the named items.';
