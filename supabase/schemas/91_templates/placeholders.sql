-- Placeholders of templates: {{name}} in any text of a request; the name has up to 50 characters without { } | $ : \.
-- A text that is nothing but a placeholder may stand in a field for a number, such as "seed": "{{seed}}".

-- placeholders_of(p_request)
-- The names of the placeholders, each once, as they come in the request. Bounded by the request's size.
create function batchgen.placeholders_of(p_request jsonb) returns text[]
language sql immutable set search_path = '' as $$
  select array(
    select btrim(p.m[1])
    from jsonb_path_query(p_request, 'strict $.** ? (@.type() == "string")') with ordinality t (text, nth)
    cross join regexp_matches(t.text #>> '{}', '\{\{([^{}|$:\\]*)\}\}', 'g') with ordinality p (m, nth)
    group by 1 order by min(t.nth), min(p.nth)
  )
$$;
revoke execute on function batchgen.placeholders_of(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.placeholders_of(jsonb) is 'The names of a template''s placeholders.';

-- read_values(p_values, p_names, p_settings, p_field)
-- Values of placeholders by name: texts, and numbers as texts. Refuse names that are not among p_names.
create function batchgen.read_values(p_values jsonb, p_names text[], p_settings batchgen.settings, p_field text)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_name text;
  v_value jsonb;
  v_path text;
  v_values jsonb := '{}';
begin
  if jsonb_typeof(p_values) <> 'object' then
    perform batchgen.refuse('wrong_type', p_field || ' is not an object.', p_field,
      'Send an object with a text or a number for each placeholder.');
  end if;
  for v_name, v_value in select e.key, e.value from jsonb_each(p_values) e loop
    v_path := p_field || '.' || left(v_name, 100);
    if v_name <> all (p_names) then
      perform batchgen.refuse('unknown_placeholder', v_path || ' is not a placeholder of the template.', v_path,
        case when p_names = '{}' then 'Leave it out: the template has no placeholders.'
          else format('Leave it out. The placeholders are %s.', left(array_to_string(p_names, ', '), 1000)) end,
        null, to_jsonb(p_names[:50]));
    end if;
    if jsonb_typeof(v_value) = 'number' then
      -- As text, a number of ten bytes may have a hundred thousand digits.
      if abs(v_value::numeric) > 1e19 or scale(v_value::numeric) > 20 then
        perform batchgen.refuse('out_of_range', v_path || ' is a number out of range.', v_path, 'Send it as a text.');
      end if;
      v_value := to_jsonb(v_value #>> '{}');
    elsif jsonb_typeof(v_value) not in ('string', 'null') then
      perform batchgen.refuse('wrong_type', v_path || ' is neither a text nor a number.', v_path,
        'Send a text or a number.');
    end if;
    if jsonb_typeof(v_value) = 'string' then
      v_values := jsonb_set(v_values, array[v_name],
        to_jsonb(batchgen.read_text(v_value, v_path, p_settings.max_prompt_characters)));
    end if;
  end loop;
  return v_values;
end
$$;
revoke execute on function batchgen.read_values(jsonb, text[], batchgen.settings, text)
from public, anon, authenticated, service_role;
comment on function batchgen.read_values(jsonb, text[], batchgen.settings, text) is
  'Values of placeholders by name, as texts; refuses unknown names.';

-- fill_text(p_text, p_values, p_escape, p_settings, p_path)
-- A text with its placeholders replaced, all at once: a placeholder in a value stays as it is. p_escape: characters
-- with a meaning in choices get a backslash, and so does a backslash before a placeholder, which would otherwise change
-- the meaning of the value's first character. The length is computed before the text is made.
create function batchgen.fill_text(
  p_text text, p_values jsonb, p_escape boolean, p_settings batchgen.settings, p_path text
) returns text
language plpgsql set search_path = '' as $$
declare
  v_pieces text[] := array(
    select case
      when m[1] is null then m[2]
      when p_escape then regexp_replace(p_values ->> btrim(m[1]), '([{}|\\$:~!@])', '\\\1', 'g')
      else p_values ->> btrim(m[1])
    end
    from regexp_matches(case when p_escape
      then regexp_replace(p_text, '((?:^|[^\\])(?:\\\\)*\\)(\{\{[^{}|$:\\]*\}\})', '\1\\\2', 'g')
      else p_text end, '\{\{([^{}|$:\\]*)\}\}|([^{]+|\{)', 'g') m
  );
  v_length bigint := (select sum(length(p)) from unnest(v_pieces) p);
begin
  if v_length > p_settings.max_prompt_characters then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_path, v_length,
      p_settings.max_prompt_characters), p_path,
      format('Shorten the values to make it at most %s characters.', p_settings.max_prompt_characters), null,
      to_jsonb(p_settings.max_prompt_characters));
  end if;
  return array_to_string(v_pieces, '');
end
$$;
revoke execute on function batchgen.fill_text(text, jsonb, boolean, batchgen.settings, text)
from public, anon, authenticated, service_role;
comment on function batchgen.fill_text(text, jsonb, boolean, batchgen.settings, text) is
  'A text with its placeholders replaced.';

-- fill(p_value, p_values, p_escape, p_settings, p_path)
-- A part of a template's request with its placeholders replaced. p_escape: in the prompts' texts. Where a field for a
-- number is a placeholder, the value becomes a number.
create function batchgen.fill(
  p_value jsonb, p_values jsonb, p_escape boolean, p_settings batchgen.settings, p_path text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_text text;
begin
  case jsonb_typeof(p_value)
    when 'object' then
      return coalesce((
        select jsonb_object_agg(e.key, batchgen.fill(e.value, p_values, p_escape, p_settings,
          case when p_path = '' then '' else p_path || '.' end || e.key))
        from jsonb_each(p_value) e
      ), '{}');
    when 'array' then
      return coalesce((
        select jsonb_agg(batchgen.fill(a.value, p_values, p_escape, p_settings,
          format('%s[%s]', p_path, a.ordinality - 1)) order by a.ordinality)
        from jsonb_array_elements(p_value) with ordinality a
      ), '[]');
    when 'string' then
      v_text := batchgen.fill_text(p_value #>> '{}', p_values, p_escape and p_path ~ '^prompts\[\d+\]\.text$',
        p_settings, p_path);
      if p_path ~ '(^|\.)(seed|width|height|steps|guidance_scale|count|seeds\[\d+\])$'
        and p_value #>> '{}' ~ '^\{\{[^{}|$:\\]*\}\}$' and btrim(v_text) ~ '^[-+]?\d{1,20}(\.\d{1,20})?$'
      then
        return to_jsonb(btrim(v_text)::numeric);
      end if;
      return to_jsonb(v_text);
    else
      return p_value;
  end case;
end
$$;
revoke execute on function batchgen.fill(jsonb, jsonb, boolean, batchgen.settings, text)
from public, anon, authenticated, service_role;
comment on function batchgen.fill(jsonb, jsonb, boolean, batchgen.settings, text) is
  'A part of a template''s request with its placeholders replaced.';
