-- Expansion of a request's prompts: choices, then variations. The number of items is checked before any is made.

-- read_choices(p_request, p_settings)
-- The request's choices as {mode, count, seed}; null if missing. Without a seed, the client_key decides, so that a
-- preview shows what the same request makes; without that, chance.
create function batchgen.read_choices(p_request jsonb, p_settings batchgen.settings) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_choices jsonb := p_request -> 'choices';
  v_mode text;
  v_name text;
begin
  if coalesce(jsonb_typeof(v_choices), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(v_choices) <> 'object' then
    perform batchgen.refuse('wrong_type', 'choices is not an object.', 'choices',
      'Send {"mode": "all"} or {"mode": "sample", "count": 4}, or leave it out.');
  end if;
  perform batchgen.refuse_unknown_fields(v_choices, 'choices.', '{mode,count,seed}');
  v_mode := batchgen.read_text(v_choices -> 'mode', 'choices.mode', 200);
  if v_mode is null or v_mode not in ('all', 'sample') then
    perform batchgen.refuse('unknown_mode', 'choices.mode is neither all nor sample.', 'choices.mode',
      'Send all for every combination, or sample for some of them.', null, '["all", "sample"]');
  end if;
  foreach v_name in array '{count,seed}'::text[] loop
    if v_mode = 'all' and coalesce(jsonb_typeof(v_choices -> v_name), 'null') <> 'null' then
      perform batchgen.refuse('not_allowed', format('choices.%s has no meaning in the mode all.', v_name),
        'choices.' || v_name, 'Leave it out, or send the mode sample.');
    end if;
  end loop;
  return jsonb_build_object('mode', v_mode,
    'count', coalesce(batchgen.read_number(v_choices -> 'count', 'choices.count', 1, p_settings.max_batch_size, true),
      1),
    'seed', coalesce(batchgen.read_number(v_choices -> 'seed', 'choices.seed', -9223372036854775808,
      9223372036854775807, true)::bigint,
      floor(coalesce(batchgen.chance(p_request ->> 'client_key'), random()) * 2147483648)::bigint));
end
$$;
revoke execute on function batchgen.read_choices(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_choices(jsonb, batchgen.settings) is
  'The choices of a request as {mode, count, seed}; null if missing.';

-- read_variations(p_request, p_settings)
-- The seeds of the request's variations, with null for a random one; null if the request has no variations.
create function batchgen.read_variations(p_request jsonb, p_settings batchgen.settings) returns bigint[]
language plpgsql set search_path = '' as $$
declare
  v_variations jsonb := p_request -> 'variations';
  v_values jsonb;
  v_value jsonb;
  v_field text;
  v_count integer;
  v_seed bigint;
  v_seeds bigint[] := '{}';
begin
  if coalesce(jsonb_typeof(v_variations), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(v_variations) <> 'object' then
    perform batchgen.refuse('wrong_type', 'variations is not an object.', 'variations',
      'Send {"count": 4} or {"seeds": [1, 2]}, or leave it out.');
  end if;
  perform batchgen.refuse_unknown_fields(v_variations, 'variations.', '{count,seeds}');
  v_count := batchgen.read_number(v_variations -> 'count', 'variations.count', 1, p_settings.max_batch_size, true);
  v_values := nullif(v_variations -> 'seeds', 'null');
  if (v_count is null) = (v_values is null) then
    perform batchgen.refuse('not_allowed', 'variations has ' || case when v_count is null
      then 'neither count nor seeds.' else 'both count and seeds.' end, 'variations',
      'Send count for random seeds, or seeds for given ones.');
  end if;
  if v_count is not null then
    return array_fill(null::bigint, array[v_count]);
  end if;
  if jsonb_typeof(v_values) <> 'array' or jsonb_array_length(v_values) not between 1 and p_settings.max_batch_size then
    perform batchgen.refuse(case when jsonb_typeof(v_values) = 'array' then 'out_of_range' else 'wrong_type' end,
      format('variations.seeds is not a list of 1 to %s seeds.', p_settings.max_batch_size), 'variations.seeds',
      format('Send 1 to %s whole numbers.', p_settings.max_batch_size), null, to_jsonb(p_settings.max_batch_size));
  end if;
  for v_value in select s.value from jsonb_array_elements(v_values) s loop
    v_field := format('variations.seeds[%s]', cardinality(v_seeds));
    v_seed := batchgen.read_number(v_value, v_field, -9223372036854775808, 9223372036854775807, true);
    if v_seed = any (v_seeds) then
      perform batchgen.refuse('repeated_seed', format('%s is the seed %s again.', v_field, v_seed), v_field,
        'Send each seed once: the same seed makes the same picture.');
    end if;
    v_seeds := v_seeds || v_seed;
  end loop;
  return v_seeds;
end
$$;
revoke execute on function batchgen.read_variations(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_variations(jsonb, batchgen.settings) is
  'The seeds of a request''s variations, null for a random one; null without variations.';

-- expand_items(p_items, p_choices, p_variations, p_settings, p_user_id)
-- The items that the prompts of a request make: each prompt's choices in order, each with every variation. Refuses
-- too few or too many; choices are expanded only as long as they fit.
create function batchgen.expand_items(
  p_items batchgen.requested_item[], p_choices jsonb, p_variations bigint[], p_settings batchgen.settings,
  p_user_id uuid
) returns batchgen.requested_item[]
language plpgsql set search_path = '' as $$
declare
  v_item batchgen.requested_item;
  v_items batchgen.requested_item[] := '{}';
  v_expanded record;
  v_variations bigint[] := coalesce(p_variations, array[null::bigint]);
  v_text text;
  v_number double precision := 0;
  v_most integer;
  v_own_seed bigint;
begin
  if p_choices is null and p_variations is null then
    return p_items;
  end if;
  v_most := batchgen.max_batch_size_of(p_user_id);
  foreach v_item in array p_items loop
    v_own_seed := v_item.seed;
    if v_own_seed is not null and p_variations[1] is not null then
      perform batchgen.refuse('not_allowed', format('prompts[%s].seed is given beside variations.seeds.',
        v_item.batch_index), format('prompts[%s].seed', v_item.batch_index), 'Leave one of them out.',
        v_item.batch_index);
    end if;
    select 1::double precision as number, array[v_item.prompt] as texts into v_expanded;
    if p_choices is not null then
      v_expanded := batchgen.expand_choices(v_item.prompt, p_choices,
        greatest(v_most / cardinality(v_variations) - v_number, 0)::integer, p_settings.max_prompt_characters,
        format('prompts[%s].text', v_item.batch_index), v_item.batch_index);
    end if;
    v_number := v_number + v_expanded.number;
    if v_number * cardinality(v_variations) > v_most then
      continue;
    end if;
    foreach v_text in array v_expanded.texts loop
      for v_variation in 1 .. cardinality(v_variations) loop
        v_item.batch_index := cardinality(v_items);
        v_item.prompt := v_text;
        -- A prompt's own seed is that of its first variation.
        v_item.seed := coalesce(v_variations[v_variation], case when v_variation = 1 then v_own_seed end);
        v_items := v_items || v_item;
      end loop;
    end loop;
  end loop;
  perform batchgen.check_expanded_number(v_number, cardinality(v_variations), p_settings, v_most);
  return v_items;
end
$$;
revoke execute on function batchgen.expand_items(batchgen.requested_item[], jsonb, bigint[], batchgen.settings, uuid)
from public, anon, authenticated, service_role;
comment on function batchgen.expand_items(batchgen.requested_item[], jsonb, bigint[], batchgen.settings, uuid) is
  'The items that prompts with choices and variations make; refuses too few and too many.';

-- check_expanded_number(p_prompts, p_variations, p_settings, p_most)
-- Refuse if prompts times variations are too few or too many for a batch.
create function batchgen.check_expanded_number(
  p_prompts double precision, p_variations integer, p_settings batchgen.settings, p_most integer
) returns void
language plpgsql set search_path = '' as $$
declare
  v_number double precision := p_prompts * p_variations;
  v_shown text := case when v_number >= 1e15 then 'more than 10^15' else v_number::bigint::text end
    || case when p_variations > 1 then format(' in %s variations of each', p_variations) else '' end;
begin
  if v_number < p_settings.min_batch_size then
    perform batchgen.refuse('too_few_prompts',
      format('A batch has at least %s prompts; this one makes %s.', p_settings.min_batch_size, v_shown), 'prompts',
      'Add prompts, or ask for more variations.', null, to_jsonb(p_settings.min_batch_size));
  end if;
  if v_number > p_most then
    perform batchgen.refuse('too_many_prompts',
      format('A batch has at most %s prompts; this one makes %s.', p_most, v_shown), 'prompts',
      'Ask for a sample of the choices or for fewer variations, or split it into several batches.', null,
      to_jsonb(p_most));
  end if;
end
$$;
revoke execute on function batchgen.check_expanded_number(double precision, integer, batchgen.settings, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.check_expanded_number(double precision, integer, batchgen.settings, integer) is
  'Refuses too few and too many prompts after choices and variations.';
