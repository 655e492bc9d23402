-- Edits of a retry: [{generation_id, prompt, negative_prompt, seed, model_id}], each field but the first optional. They
-- follow the rules of create_batch.

-- One edited item. The values are those after the edit; changed names the fields that the edit changes.
create type batchgen.item_edit as (
  generation_id uuid, prompt text, negative_prompt text, seed bigint, model_id uuid, model text, changed text[]
);

-- read_edits(p_batch_id, p_ids, p_edits)
-- The edits of items of this batch; empty if p_edits is null. p_ids: the items that the retry names; null means those
-- of p_edits.
-- Errors: PT422 for an invalid edit; PT404 for an item of another batch.
create function batchgen.read_edits(
  p_batch_id uuid, p_ids uuid[], p_edits jsonb
) returns batchgen.item_edit[]
language plpgsql security definer set search_path = '' as $$
declare
  v_edit jsonb;
  v_path text;
  v_one batchgen.item_edit;
  v_edits batchgen.item_edit[] := '{}';
begin
  if p_edits is null then
    return v_edits;
  end if;
  if jsonb_typeof(p_edits) <> 'array' then
    perform batchgen.refuse('wrong_type', 'p_edits is not a list.', 'p_edits',
      'Send a list of {generation_id, prompt, negative_prompt, seed, model_id}.');
  end if;
  if jsonb_array_length(p_edits) > 1000 then
    perform batchgen.refuse('too_many_items',
      format('p_edits has %s entries; at most 1000 are allowed.', jsonb_array_length(p_edits)), 'p_edits',
      'Send at most one entry for each item.', null, to_jsonb(1000));
  end if;
  for v_edit, v_path in
    select e.value, format('p_edits[%s]', e.ordinality - 1) from jsonb_array_elements(p_edits) with ordinality e
  loop
    v_one := batchgen.read_edit(p_batch_id, v_edit, v_path);
    if exists (select from unnest(v_edits) e where e.generation_id = v_one.generation_id) then
      perform batchgen.refuse('duplicate_item', v_path || ' is for an item that has an edit already.',
        v_path || '.generation_id', 'Send one edit for each item.');
    end if;
    if v_one.generation_id <> all (p_ids) then
      perform batchgen.refuse('item_not_named', v_path || ' is for an item that p_generation_ids does not name.',
        v_path || '.generation_id', 'Add its id to p_generation_ids, or leave p_generation_ids out.');
    end if;
    v_edits := v_edits || v_one;
  end loop;
  return v_edits;
end
$$;
revoke execute on function batchgen.read_edits(uuid, uuid[], jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_edits(uuid, uuid[], jsonb) is 'The edits of a retry, checked like a new request.';

-- read_edit(p_batch_id, p_edit, p_path)
-- One edit, merged with its item. An empty negative_prompt removes it; null and missing fields leave theirs.
create function batchgen.read_edit(p_batch_id uuid, p_edit jsonb, p_path text) returns batchgen.item_edit
language plpgsql security definer set search_path = '' as $$
declare
  v_item public.image_generations;
  v_model public.models;
  v_most integer := (select s.max_prompt_characters from batchgen.settings s);
  v_new batchgen.item_edit;
begin
  if jsonb_typeof(p_edit) <> 'object' then
    perform batchgen.refuse('wrong_type', p_path || ' is not an object.', p_path,
      'Send {generation_id, prompt, negative_prompt, seed, model_id}.');
  end if;
  perform batchgen.refuse_unknown_fields(p_edit, p_path || '.', '{generation_id,prompt,negative_prompt,seed,model_id}');
  select g.* into v_item from public.image_generations g
  where g.batch_id = p_batch_id
    and g.id::text = lower(batchgen.read_text(p_edit -> 'generation_id', p_path || '.generation_id', 36));
  if not found then
    perform batchgen.refuse('item_not_found', p_path || '.generation_id is not an item of this batch.',
      p_path || '.generation_id', 'Use ids of items of this batch.', null, null, 'PT404');
  end if;
  v_new.generation_id := v_item.id;
  v_new.prompt := coalesce(
    batchgen.read_text(p_edit -> 'prompt', p_path || '.prompt', v_most, v_item.batch_index), v_item.prompt);
  if batchgen.is_blank(v_new.prompt) then
    perform batchgen.refuse('blank_prompt', p_path || '.prompt is empty.', p_path || '.prompt',
      'Describe the picture, or leave the prompt out.', v_item.batch_index);
  end if;
  v_new.negative_prompt := nullif(coalesce(
    batchgen.read_text(p_edit -> 'negative_prompt', p_path || '.negative_prompt', v_most, v_item.batch_index),
    v_item.negative_prompt), '');
  v_new.seed := coalesce(batchgen.read_number(p_edit -> 'seed', p_path || '.seed', -9223372036854775808,
    9223372036854775807, true, v_item.batch_index), v_item.seed);
  v_model := batchgen.read_edited_model(v_item, p_edit, p_path);
  v_new.model_id := v_model.id;
  v_new.model := v_model.name;
  v_new.changed := array_remove(array[
    case when v_new.prompt is distinct from v_item.prompt then 'prompt' end,
    case when v_new.negative_prompt is distinct from nullif(v_item.negative_prompt, '') then 'negative_prompt' end,
    case when v_new.seed is distinct from v_item.seed then 'seed' end,
    case when v_new.model_id is distinct from v_item.model_id then 'model_id' end
  ], null);
  return v_new;
end
$$;
revoke execute on function batchgen.read_edit(uuid, jsonb, text) from public, anon, authenticated, service_role;
comment on function batchgen.read_edit(uuid, jsonb, text) is 'One edit of a retry, merged with its item.';

-- read_edited_model(p_item, p_edit, p_path)
-- The model of an edited item: the edit's, or the item's own, null if it has none. It must be active and able to make
-- the item's size and steps.
create function batchgen.read_edited_model(
  p_item public.image_generations, p_edit jsonb, p_path text
) returns public.models
language plpgsql security definer set search_path = '' as $$
declare
  v_field text := p_path || '.model_id';
  v_named text := batchgen.read_text(p_edit -> 'model_id', v_field, 200, p_item.batch_index);
  v_model public.models;
begin
  if v_named is null and p_item.model_id is null then
    return null;
  end if;
  v_model := batchgen.find_model(coalesce(v_named, p_item.model_id::text), v_field);
  if v_model.id is distinct from p_item.model_id then
    perform batchgen.refuse_unfit('width', p_item.width, coalesce(v_model.min_width, 16),
      coalesce(v_model.max_width, 4096), v_field, p_item.batch_index);
    perform batchgen.refuse_unfit('height', p_item.height, coalesce(v_model.min_height, 16),
      coalesce(v_model.max_height, 4096), v_field, p_item.batch_index);
    perform batchgen.refuse_unfit('steps', p_item.steps, 1, coalesce(v_model.max_steps, 200), v_field,
      p_item.batch_index);
  end if;
  return v_model;
end
$$;
revoke execute on function batchgen.read_edited_model(public.image_generations, jsonb, text)
from public, anon, authenticated, service_role;
comment on function batchgen.read_edited_model(public.image_generations, jsonb, text) is
  'The model of an edited item, checked.';

create function batchgen.refuse_unfit(
  p_name text, p_value integer, p_min integer, p_max integer, p_field text, p_index integer
) returns void
language plpgsql set search_path = '' as $$
begin
  if p_value not between p_min and p_max then
    perform batchgen.refuse('out_of_range',
      format('%s takes %s from %s to %s; the item has %s.', p_field, p_name, p_min, p_max, p_value), p_field,
      'Choose another model, or submit the prompt as a new item with other settings.', p_index,
      jsonb_build_object('min', p_min, 'max', p_max));
  end if;
end
$$;
revoke execute on function batchgen.refuse_unfit(text, integer, integer, integer, text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_unfit(text, integer, integer, integer, text, integer) is
  'Refuses a model that cannot make an item''s size or steps.';
