-- Parsing of a create_batch request: each function reads one part and refuses invalid input (PT422).

-- read_number(p_value, p_field, p_min, p_max, p_whole, p_index)
-- A number of the request; null if missing. p_whole: no fraction allowed.
create function batchgen.read_number(
  p_value jsonb, p_field text, p_min numeric, p_max numeric, p_whole boolean, p_index integer default null
) returns numeric
language plpgsql set search_path = '' as $$
declare
  v_number numeric;
  v_kind text := case when p_whole then 'a whole number' else 'a number' end;
begin
  if coalesce(jsonb_typeof(p_value), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(p_value) = 'number' then
    v_number := p_value::text::numeric;
  end if;
  if v_number is null or (p_whole and v_number <> trunc(v_number)) then
    perform batchgen.refuse('wrong_type', format('%s is not %s.', p_field, v_kind), p_field,
      format('Send %s from %s to %s, or leave it out.', v_kind, p_min, p_max), p_index,
      jsonb_build_object('min', p_min, 'max', p_max));
  end if;
  if v_number not between p_min and p_max then
    perform batchgen.refuse('out_of_range',
      format('%s is out of range: it must be from %s to %s.', p_field, p_min, p_max), p_field,
      format('Choose %s from %s to %s.', v_kind, p_min, p_max), p_index,
      jsonb_build_object('min', p_min, 'max', p_max));
  end if;
  return v_number;
end
$$;
revoke execute on function batchgen.read_number(jsonb, text, numeric, numeric, boolean, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.read_number(jsonb, text, numeric, numeric, boolean, integer) is
  'A number of a request, checked; null if missing.';

-- read_text(p_value, p_field, p_max, p_index)
-- A string of the request; null if missing. The length is checked first, so that a huge value costs nothing.
create function batchgen.read_text(
  p_value jsonb, p_field text, p_max integer, p_index integer default null
) returns text
language plpgsql set search_path = '' as $$
declare
  v_text text;
begin
  if coalesce(jsonb_typeof(p_value), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(p_value) <> 'string' then
    perform batchgen.refuse('wrong_type', format('%s is not a string.', p_field), p_field, 'Send a string.', p_index);
  end if;
  v_text := p_value #>> '{}';
  if length(v_text) > p_max then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field,
      length(v_text), p_max), p_field,
      format('Shorten it to %s characters.', p_max), p_index, to_jsonb(p_max));
  end if;
  return v_text;
end
$$;
revoke execute on function batchgen.read_text(jsonb, text, integer, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.read_text(jsonb, text, integer, integer) is
  'A string of a request, checked; null if missing.';

-- read_tags(p_tags, p_index)
-- The tags of one prompt: trimmed, lower case, without duplicates.
create function batchgen.read_tags(p_tags jsonb, p_index integer) returns text[]
language plpgsql set search_path = '' as $$
declare
  v_field text := format('prompts[%s].tags', p_index);
  v_tag jsonb;
  v_name text;
  v_names text[] := array[]::text[];
begin
  if coalesce(jsonb_typeof(p_tags), 'null') = 'null' then
    return v_names;
  end if;
  if jsonb_typeof(p_tags) <> 'array' then
    perform batchgen.refuse('wrong_type', format('%s is not a list.', v_field), v_field, 'Send a list of strings.',
      p_index);
  end if;
  if jsonb_array_length(p_tags) > 20 then
    perform batchgen.refuse('too_many_tags',
      format('%s has %s tags; at most 20 are allowed.', v_field, jsonb_array_length(p_tags)), v_field,
      'Send at most 20 tags.', p_index, to_jsonb(20));
  end if;
  for v_tag in select value from jsonb_array_elements(p_tags) loop
    v_name := lower(btrim(batchgen.read_text(v_tag, v_field, 50, p_index), E' \t\r\n'));
    v_name := batchgen.check_tag_name(v_name, v_field, p_index);
    if v_name is null or batchgen.is_blank(v_name) then
      perform batchgen.refuse('blank_tag', format('%s has an empty tag.', v_field), v_field, 'Leave the tag out.',
        p_index);
    end if;
    if not v_name = any (v_names) then
      v_names := v_names || v_name;
    end if;
  end loop;
  return v_names;
end
$$;
revoke execute on function batchgen.read_tags(jsonb, integer) from public, anon, authenticated, service_role;
comment on function batchgen.read_tags(jsonb, integer) is
  'The tags of a prompt: trimmed, lower case, without duplicates.';

-- read_client_key(p_request)
-- The client_key of the request; null if missing.
create function batchgen.read_client_key(p_request jsonb) returns text
language plpgsql set search_path = '' as $$
declare
  v_client_key text := batchgen.read_text(p_request -> 'client_key', 'client_key', 200);
begin
  if batchgen.is_blank(v_client_key) then
    perform batchgen.refuse('blank_client_key', 'client_key is empty.', 'client_key',
      'Send a value that is unique to this request, for example a UUID, or leave it out.');
  end if;
  return v_client_key;
end
$$;
revoke execute on function batchgen.read_client_key(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_client_key(jsonb) is 'The client_key of a request; null if missing.';

-- read_shared_settings(p_request, p_settings)
-- The request's batch_name and shared_settings as an unwritten row of batch_generations: model, version, size, steps
-- and guidance scale, with the model's defaults for missing ones.
create function batchgen.read_shared_settings(
  p_request jsonb, p_settings batchgen.settings
) returns public.batch_generations
language plpgsql set search_path = '' as $$
declare
  v_shared jsonb := p_request -> 'shared_settings';
  v_model public.models;
  v_batch public.batch_generations;
begin
  if coalesce(jsonb_typeof(v_shared), 'null') not in ('null', 'object') then
    perform batchgen.refuse('wrong_type', 'shared_settings is not an object.', 'shared_settings',
      'Send {model_id, model_version, width, height, steps, guidance_scale}, or leave it out.');
  end if;
  if jsonb_typeof(v_shared) = 'object' then
    perform batchgen.refuse_unknown_fields(v_shared, 'shared_settings.',
      '{model_id,model_version,width,height,steps,guidance_scale}');
  end if;
  v_batch.name := batchgen.read_text(p_request -> 'batch_name', 'batch_name', 200);
  if batchgen.is_blank(v_batch.name) then
    v_batch.name := null;
  end if;
  v_model := batchgen.find_model(batchgen.read_text(v_shared -> 'model_id', 'shared_settings.model_id', 200));
  v_batch.model_id := v_model.id::text;
  v_batch.model_version :=
    nullif(batchgen.read_text(v_shared -> 'model_version', 'shared_settings.model_version', 200), '');
  v_batch.width := coalesce(batchgen.read_number(v_shared -> 'width', 'shared_settings.width',
    coalesce(v_model.min_width, 16), coalesce(v_model.max_width, 4096), true), v_model.default_width, 1024);
  v_batch.height := coalesce(batchgen.read_number(v_shared -> 'height', 'shared_settings.height',
    coalesce(v_model.min_height, 16), coalesce(v_model.max_height, 4096), true), v_model.default_height, 1024);
  v_batch.steps := coalesce(batchgen.read_number(v_shared -> 'steps', 'shared_settings.steps',
    1, coalesce(v_model.max_steps, 200), true), v_model.default_steps);
  -- Rounded: a number too close to zero for double precision would raise an error.
  v_batch.guidance_scale := coalesce(
    round(batchgen.read_number(v_shared -> 'guidance_scale', 'shared_settings.guidance_scale',
      0, p_settings.max_guidance_scale::numeric, false), 100)::double precision,
    v_model.default_guidance_scale
  );
  return v_batch;
end
$$;
revoke execute on function batchgen.read_shared_settings(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_shared_settings(jsonb, batchgen.settings) is
  'The settings that all items of a request share, as a row of batch_generations.';

-- read_prompts(p_prompts, p_settings)
-- The requested items, in order.
create function batchgen.read_prompts(
  p_prompts jsonb, p_settings batchgen.settings
) returns batchgen.requested_item[]
language plpgsql set search_path = '' as $$
declare
  v_prompt jsonb;
  v_path text;
  v_item batchgen.requested_item;
  v_items batchgen.requested_item[] := '{}';
begin
  for v_prompt, v_item.batch_index in
    select p.value, p.ordinality - 1 from jsonb_array_elements(p_prompts) with ordinality p
  loop
    v_path := format('prompts[%s]', v_item.batch_index);
    if jsonb_typeof(v_prompt) <> 'object' then
      perform batchgen.refuse('wrong_type', v_path || ' is not an object.', v_path,
        'Send {text, negative_prompt, seed, tags}.', v_item.batch_index);
    end if;
    perform batchgen.refuse_unknown_fields(v_prompt, v_path || '.', '{text,negative_prompt,seed,tags}',
      v_item.batch_index);
    v_item.prompt := batchgen.read_text(
      v_prompt -> 'text', v_path || '.text', p_settings.max_prompt_characters, v_item.batch_index
    );
    if v_item.prompt is null or batchgen.is_blank(v_item.prompt) then
      perform batchgen.refuse('blank_prompt', v_path || '.text is empty.', v_path || '.text',
        'Describe the picture, or remove the prompt.', v_item.batch_index);
    end if;
    v_item.negative_prompt := nullif(batchgen.read_text(
      v_prompt -> 'negative_prompt', v_path || '.negative_prompt', p_settings.max_prompt_characters, v_item.batch_index
    ), '');
    v_item.seed := batchgen.read_number(
      v_prompt -> 'seed', v_path || '.seed', -9223372036854775808, 9223372036854775807, true, v_item.batch_index
    );
    v_item.tags := batchgen.read_tags(v_prompt -> 'tags', v_item.batch_index);
    v_items := v_items || v_item;
  end loop;
  return v_items;
end
$$;
revoke execute on function batchgen.read_prompts(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_prompts(jsonb, batchgen.settings) is 'The requested items.';

-- choose_seeds(p_items)
-- Give every item a seed of its own: random 31 bits, which every provider accepts, where the request has none.
create function batchgen.choose_seeds(p_items batchgen.requested_item[]) returns batchgen.requested_item[]
language plpgsql set search_path = '' as $$
declare
  v_seed bigint;
begin
  for v_nth in 1 .. cardinality(p_items) loop
    while p_items[v_nth].seed is null loop
      v_seed := floor(random() * 2147483648)::bigint;
      if not exists (select from unnest(p_items) i where i.seed = v_seed) then
        p_items[v_nth].seed := v_seed;
      end if;
    end loop;
  end loop;
  return p_items;
end
$$;
revoke execute on function batchgen.choose_seeds(batchgen.requested_item[])
from public, anon, authenticated, service_role;
comment on function batchgen.choose_seeds(batchgen.requested_item[]) is 'Gives each item a seed of its own.';
