-- visible_template(p_user_id, p_id, p_field)
-- A template that the user may use: one of their own, or a public one.
-- Errors: PT404 template_not_found.
create function batchgen.visible_template(p_user_id uuid, p_id text, p_field text) returns batchgen.batch_templates
language plpgsql stable security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates;
begin
  if p_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
    select t.* into v_template from batchgen.batch_templates t
    where t.id = p_id::uuid and (t.user_id = p_user_id or t.is_public);
  end if;
  if v_template.id is null then
    perform batchgen.refuse_template(p_field);
  end if;
  return v_template;
end
$$;
revoke execute on function batchgen.visible_template(uuid, text, text)
from public, anon, authenticated, service_role;
comment on function batchgen.visible_template(uuid, text, text) is 'A template that a user may use, or PT404.';

create function batchgen.refuse_template(p_field text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('template_not_found', 'Template not found, or it is another user''s.', p_field,
    'Use the id of one of your templates, or of a public one.', null, null, 'PT404');
end
$$;
revoke execute on function batchgen.refuse_template(text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_template(text) is
  'Raises PT404: template not found, or it is another user''s.';

-- request_from_template(p_user_id, p_request, p_settings)
-- The whole request that a request with a template stands for; a request without one as it is. With rows, the
-- template's prompts are made once for each row.
-- Caller: the reading of a request. Errors: PT404 template_not_found; PT422.
create function batchgen.request_from_template(p_user_id uuid, p_request jsonb, p_settings batchgen.settings)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_use jsonb := p_request -> 'template';
  v_template batchgen.batch_templates;
  v_rows jsonb;
  v_filled jsonb;
  v_rest jsonb;
  v_prompts jsonb := '[]';
  v_own jsonb := p_request - 'template';
begin
  if coalesce(jsonb_typeof(v_use), 'null') = 'null' then
    return v_own;
  end if;
  if jsonb_typeof(v_use) <> 'object' then
    perform batchgen.refuse('wrong_type', 'template is not an object.', 'template',
      'Send {"id": …, "values": {…}}, or leave it out.');
  end if;
  perform batchgen.refuse_unknown_fields(v_use, 'template.', '{id,values,rows,values_have_choices}');
  perform batchgen.refuse_unknown_fields(p_request, '',
    '{template,shared_settings,batch_name,client_key,choices,variations}');
  v_template := batchgen.visible_template(p_user_id, batchgen.read_text(v_use -> 'id', 'template.id', 200),
    'template.id');
  v_rows := batchgen.read_rows(v_use, v_template, p_settings);
  for v_nth in 0 .. jsonb_array_length(v_rows) - 1 loop
    v_filled := batchgen.fill(v_template.request, v_rows -> v_nth,
      nullif(coalesce(v_own -> 'choices', v_template.request -> 'choices'), 'null') is not null
        and not batchgen.read_flag(v_use -> 'values_have_choices', 'template.values_have_choices'),
      p_settings, '');
    if v_nth > 0 and v_filled - 'prompts' <> v_rest then
      perform batchgen.refuse('rows_differ',
        format('template.rows[%s] makes other settings than the first row.', v_nth),
        format('template.rows[%s]', v_nth), 'Send it as a batch of its own.');
    end if;
    v_rest := v_filled - 'prompts';
    v_prompts := v_prompts || (v_filled -> 'prompts');
  end loop;
  if jsonb_typeof(v_rest -> 'shared_settings') = 'object' and jsonb_typeof(v_own -> 'shared_settings') = 'object' then
    v_own := jsonb_set(v_own, '{shared_settings}', (v_rest -> 'shared_settings') || (v_own -> 'shared_settings'));
  end if;
  return v_rest || v_own || jsonb_build_object('prompts', v_prompts);
end
$$;
revoke execute on function batchgen.request_from_template(uuid, jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.request_from_template(uuid, jsonb, batchgen.settings) is
  'The whole request that a request with a template stands for.';

-- read_rows(p_use, p_template, p_settings)
-- The rows of values of a request with a template, with the template's defaults; one row if the request has values.
create function batchgen.read_rows(p_use jsonb, p_template batchgen.batch_templates, p_settings batchgen.settings)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_rows jsonb := nullif(p_use -> 'rows', 'null');
  v_names text[] := batchgen.placeholders_of(p_template.request);
  v_values jsonb;
  v_missing text;
  v_field text := 'template.values';
  v_read jsonb[] := '{}';
  v_most integer := p_settings.max_batch_size / greatest(jsonb_array_length(p_template.request -> 'prompts'), 1);
begin
  if v_rows is not null and nullif(p_use -> 'values', 'null') is not null then
    perform batchgen.refuse('not_allowed', 'template has both values and rows.', 'template',
      'Send values for one row, or rows for several.');
  end if;
  if jsonb_typeof(v_rows) <> 'array' or jsonb_array_length(v_rows) not between 1 and v_most then
    perform batchgen.refuse(case when jsonb_typeof(v_rows) = 'array' then 'out_of_range' else 'wrong_type' end,
      format('template.rows is not a list of 1 to %s rows.', v_most), 'template.rows',
      'Split the rows into several batches.', null, to_jsonb(v_most));
  end if;
  for v_nth in 0 .. coalesce(jsonb_array_length(v_rows), 1) - 1 loop
    if v_rows is not null then
      v_field := format('template.rows[%s]', v_nth);
    end if;
    v_values := p_template.defaults || batchgen.read_values(
      coalesce(v_rows -> v_nth, nullif(p_use -> 'values', 'null'), '{}'), v_names, p_settings, v_field);
    select n into v_missing from unnest(v_names) n where not v_values ? n limit 1;
    if found then
      perform batchgen.refuse('missing_value', format('%s.%s is missing, and the template has no default for it.',
        v_field, v_missing), format('%s.%s', v_field, v_missing), 'Send a value for it.');
    end if;
    v_read := v_read || v_values;
  end loop;
  return to_jsonb(v_read);
end
$$;
revoke execute on function batchgen.read_rows(jsonb, batchgen.batch_templates, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_rows(jsonb, batchgen.batch_templates, batchgen.settings) is
  'The rows of values of a request with a template, with its defaults.';

create function batchgen.read_flag(p_value jsonb, p_field text) returns boolean
language plpgsql set search_path = '' as $$
begin
  if coalesce(jsonb_typeof(p_value), 'null') not in ('null', 'boolean') then
    perform batchgen.refuse('wrong_type', p_field || ' is neither true nor false.', p_field, 'Send true or false.');
  end if;
  return coalesce(nullif(p_value, 'null')::boolean, false);
end
$$;
revoke execute on function batchgen.read_flag(jsonb, text) from public, anon, authenticated, service_role;
comment on function batchgen.read_flag(jsonb, text) is 'True or false of a request; false if missing.';
