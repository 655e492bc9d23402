-- Choices in a prompt, {red|blue} fox, in the syntax of Dynamic Prompts; docs/requests.md describes it.
--
-- A prompt is parsed into parts: a list of texts and choices. A choice is {low, high, joiner, place, options:
-- [{weight, parts}]}. It is measured before anything is expanded: the number of its combinations and the length of the
-- longest are computed, not counted. Bounds per prompt: 100 choices, 1,000 options, 10 levels, 50 picks by one choice.

-- refuse_choices(p_problem, p_remedy, p_field, p_index, p_code, p_limit)
-- Refuse a prompt with choices; p_problem follows the field's name in the message.
create function batchgen.refuse_choices(
  p_problem text, p_remedy text, p_field text, p_index integer, p_code text default 'choices_syntax',
  p_limit integer default null
) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse(p_code, format('%s %s', p_field, p_problem), p_field, p_remedy, p_index, to_jsonb(p_limit));
end
$$;
revoke execute on function batchgen.refuse_choices(text, text, text, integer, text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_choices(text, text, text, integer, text, integer) is
  'Refuses a prompt with choices.';

-- read_weight(p_weight, p_place, p_field, p_index)
-- The weight of an option; 1 if missing.
create function batchgen.read_weight(p_weight text, p_place integer, p_field text, p_index integer) returns numeric
language plpgsql set search_path = '' as $$
declare
  v_weight numeric := coalesce(p_weight::numeric, 1);
begin
  if v_weight <> 0 and v_weight not between 0.000001 and 1000000 then
    perform batchgen.refuse_choices(format('has a weight out of range at character %s.', p_place),
      'Use 0, or a number from 0.000001 to 1000000; write \: to mean the colon itself.', p_field, p_index);
  end if;
  return round(v_weight, 6);
end
$$;
revoke execute on function batchgen.read_weight(text, integer, text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.read_weight(text, integer, text, integer) is 'The weight of an option; 1 if missing.';

-- read_choice_start(p_token, p_place, p_field, p_index)
-- JSON text of the beginning of a choice: count, joiner and the first option's weight.
create function batchgen.read_choice_start(p_token text, p_place integer, p_field text, p_index integer) returns text
language plpgsql set search_path = '' as $body$
declare
  -- [1] sampler, [2] count with its $$, [3] exactly, [4] from, [5] to, [6] joiner, [7] weight.
  v_match text[] := regexp_match(p_token,
    '^\{[ \t\r\n]*([~!@])?[ \t\r\n]*'
    '((?:([0-9]+)|([0-9]*)[ \t\r\n]*-[ \t\r\n]*([0-9]*))?[ \t\r\n]*\$\$(?:((?:[^${}\\]|\\.)*)\$\$)?)?'
    '(?:[ \t\r\n]*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))[ \t\r\n]*::)?$');
  v_from text := coalesce(v_match[3], nullif(v_match[4], ''));
  v_to text := coalesce(v_match[3], nullif(v_match[5], ''));
  v_low numeric;
  v_high numeric;
begin
  if v_match[1] is not null then
    perform batchgen.refuse_choices(format('has %s after the brace at character %s, which is not supported.',
      v_match[1], p_place), format('Remove it: choices.mode says how to choose. Write \%s to mean the character.',
      v_match[1]), p_field, p_index);
  end if;
  if v_match is null or v_match[2] is not null and coalesce(v_from, v_to) is null then
    perform batchgen.refuse_choices(format('has $$ without a count after the brace at character %s.', p_place),
      'Write a count before it, such as {2$$a|b|c} or {1-2$$a|b|c}; write \$ to mean the character.', p_field,
      p_index);
  end if;
  -- 1,000: all options. A choice of more picks than options takes all of them.
  v_low := least(coalesce(v_from, '1')::numeric, 1000);
  v_high := least(coalesce(v_to, case when v_match[2] is null then '1' else '1000' end)::numeric, 1000);
  return format('{"low": %s, "high": %s, "joiner": %s, "place": %s, "options": [{"weight": %s, "parts": [""',
    least(v_low, v_high), greatest(v_low, v_high),
    to_json(regexp_replace(coalesce(v_match[6], ','), '\\([{}|\\$:~!@])', '\1', 'g')), p_place,
    batchgen.read_weight(v_match[7], p_place, p_field, p_index));
end
$body$;
revoke execute on function batchgen.read_choice_start(text, integer, text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.read_choice_start(text, integer, text, integer) is
  'The beginning of a choice as JSON: count, joiner, first weight.';

-- check_choices(p_choices, p_options, p_levels, p_place, p_field, p_index)
-- Refuse a prompt that exceeds the bounds of its size at this place.
create function batchgen.check_choices(
  p_choices integer, p_options integer, p_levels integer, p_place integer, p_field text, p_index integer
) returns void
language plpgsql set search_path = '' as $$
begin
  if p_levels > 10 then
    perform batchgen.refuse_choices(format('nests choices more than 10 levels deep at character %s.', p_place),
      'Nest them at most 10 levels deep.', p_field, p_index, 'too_many_choices', 10);
  end if;
  if p_choices > 100 then
    perform batchgen.refuse_choices(format('has more than 100 choices at character %s.', p_place),
      'Use at most 100 choices in a prompt.', p_field, p_index, 'too_many_choices', 100);
  end if;
  if p_options > 1000 then
    perform batchgen.refuse_choices(format('has more than 1000 options at character %s.', p_place),
      'Use at most 1000 options in a prompt.', p_field, p_index, 'too_many_choices', 1000);
  end if;
end
$$;
revoke execute on function batchgen.check_choices(integer, integer, integer, integer, text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.check_choices(integer, integer, integer, integer, text, integer) is
  'Refuses a prompt with too many choices, options or levels.';

-- parse_choices(p_text, p_field, p_index)
-- The parts of a prompt, read once from left to right. Every list of parts begins with an empty text.
create function batchgen.parse_choices(p_text text, p_field text, p_index integer) returns jsonb
language plpgsql set search_path = '' as $body$
declare
  v_token text;
  v_place integer := 1;
  v_json text[] := array['[""'];
  -- Places of the braces that are open.
  v_open integer[] := '{}';
  v_choices integer := 0;
  v_options integer := 0;
  v_begins_option boolean := false;
begin
  for v_token in
    select m[1] from regexp_matches(p_text, '\\[{}|\\$:~!@]'
      '|[$%]?\{[ \t\r\n]*[~!@]?'
      '(?:[ \t\r\n]*[0-9]*[ \t\r\n]*-?[ \t\r\n]*[0-9]*[ \t\r\n]*\$\$(?:(?:[^${}\\]|\\.)*\$\$)?)?'
      '(?:[ \t\r\n]*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[ \t\r\n]*::)?'
      '|\|(?:[ \t\r\n]*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[ \t\r\n]*::)?'
      '|\}|[^{}|\\$%]+|.', 'g') m
  loop
    if v_token ~ '^[$%]\{' then
      perform batchgen.refuse_choices(format('has %s at character %s: variables and wrappers are not supported.',
        left(v_token, 2), v_place), format('Write %s\{ to mean the characters.', left(v_token, 1)), p_field, p_index);
    elsif left(v_token, 1) = '{' then
      v_json := v_json || (',' || batchgen.read_choice_start(v_token, v_place, p_field, p_index));
      v_open := v_open || v_place;
      v_choices := v_choices + 1;
      v_options := v_options + 1;
      v_begins_option := true;
      perform batchgen.check_choices(v_choices, v_options, cardinality(v_open), v_place, p_field, p_index);
    elsif left(v_token, 1) = '|' and v_open <> '{}' then
      v_json := v_json || format(']},{"weight": %s, "parts": [""',
        batchgen.read_weight(substring(v_token from '[-+.0-9]+'), v_place, p_field, p_index));
      v_options := v_options + 1;
      v_begins_option := true;
      perform batchgen.check_choices(v_choices, v_options, cardinality(v_open), v_place, p_field, p_index);
    elsif v_token = '}' then
      if v_open = '{}' then
        perform batchgen.refuse_choices(format('has } at character %s and no { that it closes.', v_place),
          'Remove it, or write \} to mean the character.', p_field, p_index);
      end if;
      v_json := v_json || ']}]}'::text;
      v_open := trim_array(v_open, 1);
      v_begins_option := false;
    else
      v_json := v_json || (',' || to_json(case when v_token ~ '^\\.' then right(v_token, 1)
        when v_begins_option then ltrim(v_token, E' \t\r\n') else v_token end)::text);
      v_begins_option := v_begins_option and v_token ~ '^[ \t\r\n]*$';
    end if;
    v_place := v_place + length(v_token);
  end loop;
  if v_open <> '{}' then
    perform batchgen.refuse_choices(format('has { at character %s and no } that closes it.',
      v_open[cardinality(v_open)]), 'Close it, or write \{ to mean the character.', p_field, p_index);
  end if;
  return array_to_string(v_json || ']'::text, '')::jsonb;
end
$body$;
revoke execute on function batchgen.parse_choices(text, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.parse_choices(text, text, integer) is 'The parts of a prompt: texts and choices.';

-- measure_choice(p_choice, p_field, p_index)
-- The choice with its options measured, equal ones merged and those of weight 0 left out, and with its own count and
-- longest. count: number of ordered selections, at most 1e15.
create function batchgen.measure_choice(p_choice jsonb, p_field text, p_index integer) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_options jsonb;
  v_high integer;
  v_low integer;
  v_of_option double precision;
  -- [k + 1]: number of ways to take k of the options so far, in one order.
  v_ways double precision[];
  v_orders double precision := 1;
  v_count double precision := 0;
  v_longest bigint;
begin
  select jsonb_agg(o.measured || jsonb_build_object('weight', o.weight) order by o.nth) into v_options
  from (
    select batchgen.measure_parts(a.value -> 'parts', p_field, p_index) as measured,
      sum((a.value ->> 'weight')::numeric) as weight, min(a.ordinality) as nth
    from jsonb_array_elements(p_choice -> 'options') with ordinality a group by 1
  ) o
  where o.weight > 0;
  if v_options is null then
    perform batchgen.refuse_choices(format('has only options of weight 0 in the choice at character %s.',
      p_choice ->> 'place'), 'Give one of them a weight, or remove the choice.', p_field, p_index);
  end if;
  v_high := least((p_choice ->> 'high')::integer, jsonb_array_length(v_options));
  v_low := least((p_choice ->> 'low')::integer, v_high);
  if v_high > 50 then
    perform batchgen.refuse_choices(format('takes more than 50 options at once in the choice at character %s.',
      p_choice ->> 'place'), 'Lower the count to at most 50.', p_field, p_index, 'too_many_choices', 50);
  end if;
  v_ways := array_fill(0::double precision, array[v_high + 1]);
  v_ways[1] := 1;
  for v_of_option in select (o.value ->> 'count')::double precision from jsonb_array_elements(v_options) o loop
    for v_k in reverse v_high .. 1 loop
      v_ways[v_k + 1] := least(v_ways[v_k + 1] + v_ways[v_k] * v_of_option, 1e15);
    end loop;
  end loop;
  for v_k in 0 .. v_high loop
    v_orders := v_orders * greatest(v_k, 1);
    v_count := v_count + case when v_k >= v_low then v_orders * v_ways[v_k + 1] else 0 end;
  end loop;
  select coalesce(sum(l.longest), 0) into v_longest from (
    select (o.value ->> 'longest')::bigint as longest from jsonb_array_elements(v_options) o
    order by 1 desc limit v_high
  ) l;
  return jsonb_build_object('low', v_low, 'high', v_high, 'joiner', p_choice -> 'joiner', 'options', v_options,
    'count', least(v_count, 1e15),
    'longest', v_longest + greatest(v_high - 1, 0) * length(p_choice ->> 'joiner'));
end
$$;
revoke execute on function batchgen.measure_choice(jsonb, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.measure_choice(jsonb, text, integer) is
  'A choice with the number of its combinations and the length of the longest.';

-- measure_parts(p_parts, p_field, p_index)
-- {parts, count, longest}: parts with their choices measured and neighbouring texts joined.
create function batchgen.measure_parts(p_parts jsonb, p_field text, p_index integer) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_part jsonb;
  v_parts jsonb[] := '{}';
  v_text text := '';
  v_count double precision := 1;
  v_longest bigint := 0;
begin
  for v_part in select p.value from jsonb_array_elements(p_parts || '{}') p loop
    if jsonb_typeof(v_part) = 'string' then
      v_text := v_text || (v_part #>> '{}');
      continue;
    end if;
    if v_text <> '' then
      v_parts := v_parts || to_jsonb(v_text);
      v_longest := v_longest + length(v_text);
      v_text := '';
    end if;
    -- The empty object that ends the list is no choice.
    if v_part <> '{}' then
      v_part := batchgen.measure_choice(v_part, p_field, p_index);
      v_parts := v_parts || v_part;
      v_count := least(v_count * (v_part ->> 'count')::double precision, 1e15);
      v_longest := v_longest + (v_part ->> 'longest')::bigint;
    end if;
  end loop;
  return jsonb_build_object('parts', to_jsonb(v_parts), 'count', v_count, 'longest', v_longest);
end
$$;
revoke execute on function batchgen.measure_parts(jsonb, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.measure_parts(jsonb, text, integer) is
  'Parts of a prompt with the number of their combinations and the length of the longest.';

-- combinations_of(p_parts)
-- All texts that measured parts make, in order: the first choice varies slowest. The caller has checked their number.
create function batchgen.combinations_of(p_parts jsonb) returns text[]
language plpgsql set search_path = '' as $$
declare
  v_part jsonb;
  v_ends text[];
  v_texts text[] := array[''];
begin
  for v_part in select p.value from jsonb_array_elements(p_parts) p loop
    v_ends := case when jsonb_typeof(v_part) = 'object' then batchgen.selections_of(v_part)
      else array[v_part #>> '{}'] end;
    v_texts := array(
      select t.text || e.text from unnest(v_texts) with ordinality t (text, nth)
      cross join unnest(v_ends) with ordinality e (text, nth) order by t.nth, e.nth
    );
  end loop;
  return v_texts;
end
$$;
revoke execute on function batchgen.combinations_of(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.combinations_of(jsonb) is 'All texts that the parts of a prompt make, in order.';

-- selections_of(p_choice)
-- All texts that a measured choice makes: fewer picks first, then by the options' order. An empty pick adds no joiner.
create function batchgen.selections_of(p_choice jsonb) returns text[]
language sql set search_path = '' as $$
  with recursive options as materialized (
    select o.ordinality as nth, batchgen.combinations_of(o.value -> 'parts') as texts
    from jsonb_array_elements(p_choice -> 'options') with ordinality o
    where (p_choice ->> 'high')::integer > 0
  ),
  picked as (
    select 0 as picks, '{}'::bigint[] as used, '{}'::bigint[] as places, '' as text
    union all
    select p.picks + 1, p.used || o.nth, p.places || t.nth,
      p.text || case when p.text <> '' and t.text <> '' then p_choice ->> 'joiner' else '' end || t.text
    from picked p
    join options o on o.nth <> all (p.used)
    cross join unnest(o.texts) with ordinality t (text, nth)
    where p.picks < (p_choice ->> 'high')::integer
  )
  select array_agg(p.text order by p.picks, p.used, p.places) from picked p
  where p.picks >= (p_choice ->> 'low')::integer
$$;
revoke execute on function batchgen.selections_of(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.selections_of(jsonb) is 'All texts that a choice makes, in order.';

-- chance(p_key)
-- A number from 0 to below 1 that depends on the key alone, equally on every server, unlike random() with setseed().
create function batchgen.chance(p_key text) returns double precision
language sql immutable set search_path = '' as $$
  select ('x' || encode(substring(sha256(convert_to(p_key, 'UTF8')) from 1 for 6), 'hex'))::bit(48)::bigint
    / 281474976710656.0::double precision
$$;
revoke execute on function batchgen.chance(text) from public, anon, authenticated, service_role;
comment on function batchgen.chance(text) is 'A number from 0 to below 1 that depends on the key alone.';

-- draw(p_parts, p_key, p_weigh_by)
-- One text that measured parts make. The key decides which, with the options' weight, or their count, as odds.
create function batchgen.draw(p_parts jsonb, p_key text, p_weigh_by text) returns text
language plpgsql set search_path = '' as $$
declare
  v_part jsonb;
  v_nth bigint;
  v_option record;
  v_key text;
  v_text text := '';
  v_picks text;
  v_pick text;
begin
  for v_part, v_nth in select p.value, p.ordinality from jsonb_array_elements(p_parts) with ordinality p loop
    if jsonb_typeof(v_part) = 'string' then
      v_text := v_text || (v_part #>> '{}');
      continue;
    end if;
    v_key := p_key || '.' || v_nth;
    v_picks := '';
    -- The options in the order in which they would be drawn one after another without being put back (Efraimidis and
    -- Spirakis, 2006).
    for v_option in
      select o.value -> 'parts' as parts, o.ordinality as nth
      from jsonb_array_elements(v_part -> 'options') with ordinality o
      order by -ln(1 - batchgen.chance(v_key || '.' || o.ordinality)) / (o.value ->> p_weigh_by)::double precision
      limit (v_part ->> 'low')::integer
        + floor(batchgen.chance(v_key) * ((v_part ->> 'high')::integer - (v_part ->> 'low')::integer + 1))::integer
    loop
      v_pick := batchgen.draw(v_option.parts, v_key || '.' || v_option.nth, p_weigh_by);
      v_picks := v_picks || case when v_picks <> '' and v_pick <> '' then v_part ->> 'joiner' else '' end || v_pick;
    end loop;
    v_text := v_text || v_picks;
  end loop;
  return v_text;
end
$$;
revoke execute on function batchgen.draw(jsonb, text, text) from public, anon, authenticated, service_role;
comment on function batchgen.draw(jsonb, text, text) is 'One text that the parts of a prompt make, chosen by the key.';

-- sample_of(p_prompt, p_count, p_key)
-- p_count texts that a measured prompt makes: different ones if it makes as many, otherwise each drawn on its own.
create function batchgen.sample_of(p_prompt jsonb, p_count integer, p_key text) returns text[]
language plpgsql set search_path = '' as $$
declare
  v_total double precision := (p_prompt ->> 'count')::double precision;
  v_parts jsonb := p_prompt -> 'parts';
  v_tries integer := 0;
  v_text text;
  v_texts text[] := '{}';
begin
  while cardinality(v_texts) < p_count and v_tries < 4 * p_count + 20 loop
    v_tries := v_tries + 1;
    -- Where the weights bring the same ones again and again, the second half of the tries does without them.
    v_text := batchgen.draw(v_parts, p_key || '/' || v_tries,
      case when v_tries > 2 * p_count + 10 and v_total >= p_count then 'count' else 'weight' end);
    if v_total < p_count or v_text <> all (v_texts) then
      v_texts := v_texts || v_text;
    end if;
  end loop;
  if cardinality(v_texts) < p_count and v_total <= 200 then
    v_texts := v_texts || array(
      select c.text from (select distinct t.text from unnest(batchgen.combinations_of(v_parts)) t (text)) c
      where c.text <> all (v_texts)
      order by batchgen.chance(p_key || '/' || c.text) limit p_count - cardinality(v_texts)
    );
  end if;
  -- Different combinations may make the same text, so that there are fewer than counted.
  while cardinality(v_texts) < p_count loop
    v_tries := v_tries + 1;
    v_texts := v_texts || batchgen.draw(v_parts, p_key || '/' || v_tries, 'weight');
  end loop;
  return v_texts;
end
$$;
revoke execute on function batchgen.sample_of(jsonb, integer, text) from public, anon, authenticated, service_role;
comment on function batchgen.sample_of(jsonb, integer, text) is
  'Texts that a prompt makes, chosen by the key: different ones if there are as many.';

-- expand_choices(p_text, p_choices, p_most, p_longest, p_field, p_index)
-- The prompts that a text with choices makes. p_choices: {mode: all}, or {mode: sample, count, seed}.
-- number: how many there are; texts is null if that is more than p_most. In mode all, equal texts are made once.
-- Errors: PT422 if the text is malformed, or if a prompt could be longer than p_longest or is blank.
create function batchgen.expand_choices(
  p_text text, p_choices jsonb, p_most integer, p_longest integer, p_field text, p_index integer,
  out number double precision, out texts text[]
)
language plpgsql set search_path = '' as $$
declare
  v_prompt jsonb := batchgen.measure_parts(batchgen.parse_choices(p_text, p_field, p_index), p_field, p_index);
begin
  if (v_prompt ->> 'longest')::bigint > p_longest then
    perform batchgen.refuse('too_long', format('%s makes a prompt of %s characters; at most %s are allowed.', p_field,
      v_prompt ->> 'longest', p_longest), p_field, format('Shorten it, so that no prompt exceeds %s characters.',
      p_longest), p_index, to_jsonb(p_longest));
  end if;
  number := (v_prompt ->> 'count')::double precision;
  if p_choices ->> 'mode' = 'sample' and jsonb_path_exists(v_prompt, '$.parts[*] ? (@.type() == "object")') then
    number := (p_choices ->> 'count')::integer;
  end if;
  if number > p_most then
    return;
  end if;
  if p_choices ->> 'mode' = 'sample' then
    texts := batchgen.sample_of(v_prompt, number::integer, concat(p_choices ->> 'seed', '/', p_index));
  else
    texts := array(
      select t.text from unnest(batchgen.combinations_of(v_prompt -> 'parts')) with ordinality t (text, nth)
      group by t.text order by min(t.nth)
    );
    number := cardinality(texts);
  end if;
  if exists (select from unnest(texts) t (text) where batchgen.is_blank(t.text)) then
    perform batchgen.refuse('blank_prompt', format('%s makes an empty prompt.', p_field), p_field,
      'Describe the picture outside the choices, or remove the empty option.', p_index);
  end if;
end
$$;
revoke execute on function batchgen.expand_choices(text, jsonb, integer, integer, text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.expand_choices(text, jsonb, integer, integer, text, integer) is
  'The prompts that a text with choices makes, if they are not too many.';

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
