-- New batches from the items of an earlier one: generate_similar with new seeds, run_again with the same. Both build a
-- request and submit it with create_batch_for, so its checks, limits, credits and client_key hold.
--
-- They return {batch: as create_batch, sources: [{index, generation_id}], differs: [{field, from, to}]}: the item from
-- which each new one was made, and the settings that differ; seed without values if every item has a new one.

-- sources_of(p_batch_id, p_generation_ids, p_with_pictures)
-- The ids of the source items, in the batch's order: the named ones, or all. p_with_pictures: only items with a
-- picture; a named item without one is refused.
-- Caller: the batch's owner, or an operator.
-- Errors: PT401, PT404; PT422.
create function batchgen.sources_of(
  p_batch_id uuid, p_generation_ids uuid[], p_with_pictures boolean
) returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
declare
  v_ids uuid[];
  v_all uuid[];
begin
  if not batchgen.is_operator() then
    perform batchgen.check_own_batch(p_batch_id);
  elsif not exists (select from public.batch_generations b where b.id = p_batch_id) then
    perform batchgen.refuse_batch();
  end if;
  v_all := batchgen.select_items(p_batch_id, p_generation_ids);
  v_ids := array(
    select p.generation_id from batchgen.pictures_of(v_all) p
    where p.image_id is not null or not p_with_pictures order by p.batch_index, p.generation_id
  );
  if p_with_pictures
    and (v_ids = '{}' or (p_generation_ids is not null and cardinality(v_ids) < cardinality(v_all)))
  then
    perform batchgen.refuse('no_image', case when p_generation_ids is null then 'The batch has no pictures.'
      else 'p_generation_ids names items without a picture.' end, 'p_generation_ids',
      'Name items that have a picture.');
  end if;
  return v_ids;
end
$$;
revoke execute on function batchgen.sources_of(uuid, uuid[], boolean) from public, anon, authenticated, service_role;
comment on function batchgen.sources_of(uuid, uuid[], boolean) is 'The items from which a new batch is made.';

-- check_new_size(p_user_id, p_items, p_count, p_field)
-- Refuse if so many new items for each of so many sources are too few or too many for a batch.
create function batchgen.check_new_size(p_user_id uuid, p_items integer, p_count integer, p_field text) returns void
language plpgsql stable security definer set search_path = '' as $$
declare
  v_least integer := (select s.min_batch_size from batchgen.settings s);
  v_most integer := batchgen.max_batch_size_of(p_user_id);
  v_number bigint := p_items::bigint * p_count;
begin
  if v_number < v_least then
    perform batchgen.refuse('too_few_prompts',
      format('A batch has at least %s prompts; this one would have %s.', v_least, v_number), p_field,
      'Name more items, or ask for more pictures of each.', null, to_jsonb(v_least));
  end if;
  if v_number > v_most then
    perform batchgen.refuse('too_many_prompts',
      format('A batch has at most %s prompts; this one would have %s.', v_most, v_number), p_field,
      'Name fewer items, or ask for fewer pictures of each.', null, to_jsonb(v_most));
  end if;
end
$$;
revoke execute on function batchgen.check_new_size(uuid, integer, integer, text)
from public, anon, authenticated, service_role;
comment on function batchgen.check_new_size(uuid, integer, integer, text) is
  'Refuses too few and too many items of a new batch.';

-- settings_of_items(p_batch_id, p_ids, p_changes)
-- The shared_settings of a request that makes these items again, with p_changes. Another model keeps size, and gets its
-- own defaults for steps, guidance scale and version.
-- Errors: PT422 if the items have different settings, or for an unknown model.
create function batchgen.settings_of_items(p_batch_id uuid, p_ids uuid[], p_changes jsonb) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_keys text[] := array(select jsonb_object_keys(p_changes));
  v_settings jsonb[];
  v_new public.models;
  v_model text := batchgen.read_text(p_changes -> 'model_id', 'shared_settings.model_id', 200);
begin
  select array_agg(distinct s.settings) into v_settings
  from public.image_generations g
  join public.batch_generations b on b.id = g.batch_id
  cross join lateral (
    select jsonb_strip_nulls(jsonb_build_object('model_id', g.model_id, 'width', g.width, 'height', g.height,
      'steps', g.steps, 'guidance_scale', g.guidance_scale,
      -- The batch's version is one of the batch's model, which an edited item may have left.
      'model_version', case when b.model_id = g.model_id::text then nullif(b.model_version, '') end)) as settings
  ) s
  where g.batch_id = p_batch_id and g.id = any (p_ids);
  if (select count(distinct s.settings - v_keys) from unnest(v_settings) s (settings)) > 1 then
    perform batchgen.refuse('mixed_settings', 'The items have different models or settings.', 'p_generation_ids',
      'Name items with the same model and settings, or give those that differ in p_shared_settings.');
  end if;
  if v_model is not null then
    v_new := batchgen.find_model(v_model);
  end if;
  if v_new.id::text is distinct from v_settings[1] ->> 'model_id' and v_model is not null then
    v_settings[1] := v_settings[1] - '{steps,guidance_scale,model_version}'::text[];
  end if;
  return v_settings[1] || p_changes;
end
$$;
revoke execute on function batchgen.settings_of_items(uuid, uuid[], jsonb)
from public, anon, authenticated, service_role;
comment on function batchgen.settings_of_items(uuid, uuid[], jsonb) is
  'The shared settings of a request that makes items again.';

-- submit_again(p_batch_id, p_ids, p_settings, p_count, p_client_key)
-- Submit the items again for the batch's owner: with their seeds, or if p_count is given, that many of each with new
-- ones.
create function batchgen.submit_again(
  p_batch_id uuid, p_ids uuid[], p_settings jsonb, p_count integer, p_client_key text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_old public.batch_generations;
  v_prompts jsonb;
  v_answer jsonb;
begin
  select b.* into v_old from public.batch_generations b where b.id = p_batch_id;
  select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('text', g.prompt, 'negative_prompt', g.negative_prompt,
    'seed', case when p_count is null then g.seed end,
    'tags', array(select t.name from batchgen.generation_tags t where t.generation_id = g.id order by t.name)
  )) order by s.nth) into v_prompts
  from unnest(p_ids) with ordinality s (id, nth) join public.image_generations g on g.id = s.id;
  v_answer := batchgen.create_batch_for(v_old.user_id, jsonb_strip_nulls(jsonb_build_object(
    'prompts', v_prompts, 'shared_settings', p_settings, 'batch_name', v_old.name, 'client_key', p_client_key,
    'variations', case when p_count is not null then jsonb_build_object('count', p_count) end
  )));
  return v_answer || jsonb_build_object(
    'sources', (
      select jsonb_agg(jsonb_build_object('index', n.place, 'generation_id',
        p_ids[1 + n.place / coalesce(p_count, 1)]) order by n.place)
      from generate_series(0, cardinality(p_ids) * coalesce(p_count, 1) - 1) n (place)
    ),
    'differs', case when p_count is not null then '[{"field": "seed"}]' else '[]' end::jsonb
      || batchgen.differences(p_ids[1], (v_answer #>> '{batch,id}')::uuid)
  );
end
$$;
revoke execute on function batchgen.submit_again(uuid, uuid[], jsonb, integer, text)
from public, anon, authenticated, service_role;
comment on function batchgen.submit_again(uuid, uuid[], jsonb, integer, text) is
  'Submits items again, with their seeds or with new ones.';

-- differences(p_generation_id, p_batch_id)
-- [{field, from, to}] for each setting in which a batch differs from an item.
create function batchgen.differences(p_generation_id uuid, p_batch_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object('field', f.name, 'from', f.old, 'to', f.new) order by f.nth), '[]')
  from public.image_generations g
  left join public.batch_generations o on o.id = g.batch_id
  join public.batch_generations b on b.id = p_batch_id
  cross join lateral (values
    (1, 'model_id', to_jsonb(g.model_id::text), to_jsonb(b.model_id)),
    (2, 'model_version', to_jsonb(case when o.model_id = g.model_id::text then nullif(o.model_version, '') end),
      to_jsonb(b.model_version)),
    (3, 'width', to_jsonb(g.width), to_jsonb(b.width)), (4, 'height', to_jsonb(g.height), to_jsonb(b.height)),
    (5, 'steps', to_jsonb(g.steps), to_jsonb(b.steps)),
    (6, 'guidance_scale', to_jsonb(g.guidance_scale), to_jsonb(b.guidance_scale))
  ) f (nth, name, old, new)
  where g.id = p_generation_id and f.old is distinct from f.new
$$;
revoke execute on function batchgen.differences(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.differences(uuid, uuid) is 'The settings in which a batch differs from an item.';

create function batchgen_api.generate_similar(
  p_batch_id uuid, p_generation_ids uuid[], p_count integer, p_client_key text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[] := batchgen.sources_of(p_batch_id, p_generation_ids, true);
  v_least integer := (select s.min_batch_size from batchgen.settings s);
  v_most integer := (select s.max_batch_size from batchgen.settings s);
  v_count integer := coalesce(p_count, ceil(v_least::numeric / cardinality(v_ids)));
begin
  if v_count not between 1 and v_most then
    perform batchgen.refuse('out_of_range', format('p_count is out of range: it must be from 1 to %s.', v_most),
      'p_count', format('Choose a whole number from 1 to %s, or leave it out.', v_most), null,
      jsonb_build_object('min', 1, 'max', v_most));
  end if;
  perform batchgen.check_new_size(
    (select b.user_id from public.batch_generations b where b.id = p_batch_id), cardinality(v_ids), v_count, 'p_count');
  return batchgen.submit_again(p_batch_id, v_ids, batchgen.settings_of_items(p_batch_id, v_ids, '{}'), v_count,
    p_client_key);
end
$$;
revoke execute on function batchgen_api.generate_similar(uuid, uuid[], integer, text)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.generate_similar(uuid, uuid[], integer, text) to authenticated, service_role;
comment on function batchgen_api.generate_similar(uuid, uuid[], integer, text) is 'Behind public.generate_similar.';

-- generate_similar(p_batch_id, p_generation_ids, p_count, p_client_key)
-- Submit a new batch with the prompts and settings of a batch's pictures, or of the named items' ones, and new seeds:
-- p_count of each, by default one, or as many as a batch needs. Answer: as described at sources_of.
-- Caller: authenticated, for a batch of their own; service_role, for any, on behalf of its owner.
-- Errors: PT401, PT404; PT422 for items without a picture, too few or too many; those of create_batch.
create function public.generate_similar(
  p_batch_id uuid, p_generation_ids uuid[] default null, p_count integer default null, p_client_key text default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.generate_similar(p_batch_id, p_generation_ids, p_count, p_client_key)
$$;
revoke execute on function public.generate_similar(uuid, uuid[], integer, text)
from public, anon, authenticated, service_role;
grant execute on function public.generate_similar(uuid, uuid[], integer, text) to authenticated, service_role;
comment on function public.generate_similar(uuid, uuid[], integer, text) is
  'Submits a new batch with the prompts and settings of pictures, and new seeds.';

create function batchgen_api.run_again(
  p_batch_id uuid, p_generation_ids uuid[], p_shared_settings jsonb, p_client_key text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[] := batchgen.sources_of(p_batch_id, p_generation_ids, false);
  v_changes jsonb := coalesce(nullif(p_shared_settings, 'null'), '{}');
begin
  if jsonb_typeof(v_changes) <> 'object' then
    perform batchgen.refuse('wrong_type', 'p_shared_settings is not an object.', 'p_shared_settings',
      'Send {model_id, model_version, width, height, steps, guidance_scale}, or leave it out.');
  end if;
  perform batchgen.check_new_size(
    (select b.user_id from public.batch_generations b where b.id = p_batch_id), cardinality(v_ids), 1,
    'p_generation_ids');
  return batchgen.submit_again(p_batch_id, v_ids,
    batchgen.settings_of_items(p_batch_id, v_ids, jsonb_strip_nulls(v_changes)), null, p_client_key);
end
$$;
revoke execute on function batchgen_api.run_again(uuid, uuid[], jsonb, text)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.run_again(uuid, uuid[], jsonb, text) to authenticated, service_role;
comment on function batchgen_api.run_again(uuid, uuid[], jsonb, text) is 'Behind public.run_again.';

-- run_again(p_batch_id, p_generation_ids, p_shared_settings, p_client_key)
-- Submit a batch, or the named items, again as a new batch with the same prompts, seeds and settings.
-- p_shared_settings: those that are to differ, {model_id, model_version, width, height, steps, guidance_scale}. Answer:
-- as described at sources_of.
-- Caller: authenticated, for a batch of their own; service_role, for any, on behalf of its owner.
-- Errors: PT401, PT404; PT422 for items with different settings, too few or too many; those of create_batch.
create function public.run_again(
  p_batch_id uuid, p_generation_ids uuid[] default null, p_shared_settings jsonb default null,
  p_client_key text default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.run_again(p_batch_id, p_generation_ids, p_shared_settings, p_client_key)
$$;
revoke execute on function public.run_again(uuid, uuid[], jsonb, text) from public, anon, authenticated, service_role;
grant execute on function public.run_again(uuid, uuid[], jsonb, text) to authenticated, service_role;
comment on function public.run_again(uuid, uuid[], jsonb, text) is
  'Submits a batch again with the same seeds, or with another model or size.';
