create table batchgen.batch_templates (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id) on delete cascade,
  name text not null constraint name_is_short check (length(name) between 1 and 200),
  request jsonb not null constraint request_is_an_object check (jsonb_typeof(request) = 'object'),
  defaults jsonb not null default '{}' constraint defaults_are_an_object check (jsonb_typeof(defaults) = 'object'),
  is_public boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index batch_templates_name on batchgen.batch_templates (user_id, name) nulls not distinct;
create index batch_templates_public on batchgen.batch_templates (name, id) where is_public;

alter table batchgen.batch_templates enable row level security;
create policy "Nobody" on batchgen.batch_templates for all to public using (false);
revoke all on batchgen.batch_templates from public, anon, authenticated, service_role;

comment on table batchgen.batch_templates is
  'Templates of whole requests with placeholders such as {{animal}}. Set is_public to let every user read and use one.';
comment on column batchgen.batch_templates.id is 'Id of the template.';
comment on column batchgen.batch_templates.user_id is 'Owner; empty for the project''s own templates.';
comment on column batchgen.batch_templates.name is 'Name; each owner has it once.';
comment on column batchgen.batch_templates.request is
  'The request as for create_batch, with placeholders in its texts.';
comment on column batchgen.batch_templates.defaults is 'Values of placeholders that a request leaves out, by name.';
comment on column batchgen.batch_templates.is_public is
  'True if every signed-in user may read and use it. Only admins set it; an edit by its owner unsets it.';
comment on column batchgen.batch_templates.created_at is 'When the template was created.';
comment on column batchgen.batch_templates.updated_at is 'When its name, request or defaults last changed.';

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

-- Templates of whole requests: save, list, get, rename, delete, publish. A batch is made from one by create_batch with
-- the field template. A user sees their own templates and the public ones; the project's own have no owner.
--
-- In all functions p_user_id is for operators: the user for whom they act, or null for the project itself.
-- Errors of all: PT401 not_signed_in; PT404 user_not_found or template_not_found (not found, or another user's).

-- template_user(p_user_id)
-- The user whose templates a call is about: the signed-in one, or the one that an operator names.
create function batchgen.template_user(p_user_id uuid) returns uuid
language plpgsql stable security definer set search_path = '' as $$
begin
  if batchgen.is_operator() then
    if p_user_id is not null and not exists (select from auth.users u where u.id = p_user_id) then
      perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
        'Use the id of a row in auth.users.', null, null, 'PT404');
    end if;
    return p_user_id;
  end if;
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id <> auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Leave it out.', null, null, 'PT404');
  end if;
  return auth.uid();
end
$$;
revoke execute on function batchgen.template_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.template_user(uuid) is 'The user whose templates a call is about.';

-- own_template(p_template_id, p_user_id)
-- A template that the caller may change, locked: a user's own; for an operator who acts for nobody, any.
create function batchgen.own_template(p_template_id uuid, p_user_id uuid) returns batchgen.batch_templates
language plpgsql security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.template_user(p_user_id);
  v_template batchgen.batch_templates;
begin
  select t.* into v_template from batchgen.batch_templates t
  where t.id = p_template_id and (v_user_id is null or t.user_id = v_user_id) for update;
  if not found then
    perform batchgen.refuse_template('p_template_id');
  end if;
  return v_template;
end
$$;
revoke execute on function batchgen.own_template(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.own_template(uuid, uuid) is 'A template that the caller may change, locked; or PT404.';

-- placeholders_as_json(p_template)
-- [{name, default, in_settings}]: default is null if a value is required; in_settings: used outside the prompts, so
-- that rows of one batch must have the same value.
create function batchgen.placeholders_as_json(p_template batchgen.batch_templates) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'name', n.name, 'default', p_template.defaults -> n.name,
    'in_settings', n.name = any (batchgen.placeholders_of(p_template.request - 'prompts'))
  ) order by n.nth), '[]')
  from unnest(batchgen.placeholders_of(p_template.request)) with ordinality n (name, nth)
$$;
revoke execute on function batchgen.placeholders_as_json(batchgen.batch_templates)
from public, anon, authenticated, service_role;
comment on function batchgen.placeholders_as_json(batchgen.batch_templates) is
  'The placeholders of a template with their defaults.';

-- template_answer(p_template, p_user_id)
-- {template: {id, name, request, defaults, placeholders, is_public, is_own, created_at, updated_at}}.
create function batchgen.template_answer(p_template batchgen.batch_templates, p_user_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('template', jsonb_build_object(
    'id', p_template.id, 'name', p_template.name, 'request', p_template.request, 'defaults', p_template.defaults,
    'placeholders', batchgen.placeholders_as_json(p_template), 'is_public', p_template.is_public,
    'is_own', p_template.user_id is not distinct from p_user_id, 'created_at', p_template.created_at,
    'updated_at', p_template.updated_at
  ))
$$;
revoke execute on function batchgen.template_answer(batchgen.batch_templates, uuid)
from public, anon, authenticated, service_role;
comment on function batchgen.template_answer(batchgen.batch_templates, uuid) is
  'A template as the functions return it.';

create function batchgen_api.list_batch_templates(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.template_user(p_user_id);
begin
  return jsonb_build_object('templates', coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', (l.t).id, 'name', (l.t).name, 'placeholders', batchgen.placeholders_as_json(l.t),
      'prompts', jsonb_array_length((l.t).request -> 'prompts'), 'is_public', (l.t).is_public, 'is_own', l.is_own,
      'created_at', (l.t).created_at, 'updated_at', (l.t).updated_at
    ) order by l.is_own desc, (l.t).name, (l.t).id)
    from (
      select t, t.user_id is not distinct from v_user_id as is_own from batchgen.batch_templates t
      where t.user_id is not distinct from v_user_id or t.is_public
      order by is_own desc, t.name, t.id limit 1000
    ) l
  ), '[]'));
end
$$;
revoke execute on function batchgen_api.list_batch_templates(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.list_batch_templates(uuid) to authenticated, service_role;
comment on function batchgen_api.list_batch_templates(uuid) is 'Behind public.list_batch_templates.';

-- list_batch_templates(p_user_id)
-- {templates: [{id, name, placeholders, prompts, is_public, is_own, created_at, updated_at}, …]}: the caller's own by
-- name, then the public ones of others; at most 1,000. prompts: how many the template has.
-- Caller: authenticated; service_role, for a user or for the project.
create function public.list_batch_templates(p_user_id uuid default null) returns jsonb
language sql stable set search_path = '' as $$
  select batchgen_api.list_batch_templates(p_user_id)
$$;
revoke execute on function public.list_batch_templates(uuid) from public, anon, authenticated, service_role;
grant execute on function public.list_batch_templates(uuid) to authenticated, service_role;
comment on function public.list_batch_templates(uuid) is
  'Lists the caller''s own templates and the public ones.';

create function batchgen_api.get_batch_template(p_template_id uuid, p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.template_user(p_user_id);
  v_template batchgen.batch_templates;
begin
  select t.* into v_template from batchgen.batch_templates t
  where t.id = p_template_id and (v_user_id is null or t.user_id = v_user_id or t.is_public);
  if not found then
    perform batchgen.refuse_template('p_template_id');
  end if;
  return batchgen.template_answer(v_template, v_user_id);
end
$$;
revoke execute on function batchgen_api.get_batch_template(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_batch_template(uuid, uuid) to authenticated, service_role;
comment on function batchgen_api.get_batch_template(uuid, uuid) is 'Behind public.get_batch_template.';

-- get_batch_template(p_template_id, p_user_id)
-- One template with its request: batchgen.template_answer.
-- Caller: authenticated, for their own and public ones; service_role, for a user's, or for any.
create function public.get_batch_template(p_template_id uuid, p_user_id uuid default null) returns jsonb
language sql stable set search_path = '' as $$
  select batchgen_api.get_batch_template(p_template_id, p_user_id)
$$;
revoke execute on function public.get_batch_template(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_batch_template(uuid, uuid) to authenticated, service_role;
comment on function public.get_batch_template(uuid, uuid) is
  'Returns one template with its request and placeholders.';

create function batchgen_api.rename_batch_template(p_template_id uuid, p_name text, p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates := batchgen.own_template(p_template_id, p_user_id);
  v_name text := batchgen.read_template_name(p_name, 'p_name');
begin
  if v_name <> v_template.name then
    update batchgen.batch_templates t
    set name = v_name, is_public = t.is_public and batchgen.is_operator(), updated_at = clock_timestamp()
    where t.id = p_template_id and not exists (
      select from batchgen.batch_templates o
      where o.user_id is not distinct from v_template.user_id and o.name = v_name
    )
    returning t.* into v_template;
    if not found then
      perform batchgen.refuse_template_name(v_name, 'p_name');
    end if;
  end if;
  return batchgen.template_answer(v_template, batchgen.template_user(p_user_id));
exception when unique_violation then
  perform batchgen.refuse_template_name(v_name, 'p_name');
end
$$;
revoke execute on function batchgen_api.rename_batch_template(uuid, text, uuid)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.rename_batch_template(uuid, text, uuid) to authenticated, service_role;
comment on function batchgen_api.rename_batch_template(uuid, text, uuid) is 'Behind public.rename_batch_template.';

-- rename_batch_template(p_template_id, p_name, p_user_id)
-- Give a template another name. A public one becomes private, unless an operator renames it.
-- Caller: authenticated, for their own; service_role, for a user's, or for any.
-- Errors: PT409 name_taken; PT422 for an invalid name.
create function public.rename_batch_template(p_template_id uuid, p_name text, p_user_id uuid default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.rename_batch_template(p_template_id, p_name, p_user_id)
$$;
revoke execute on function public.rename_batch_template(uuid, text, uuid)
from public, anon, authenticated, service_role;
grant execute on function public.rename_batch_template(uuid, text, uuid) to authenticated, service_role;
comment on function public.rename_batch_template(uuid, text, uuid) is
  'Gives a template another name.';

create function batchgen_api.delete_batch_template(p_template_id uuid, p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates := batchgen.own_template(p_template_id, p_user_id);
begin
  delete from batchgen.batch_templates t where t.id = v_template.id;
  return jsonb_build_object('deleted', v_template.id);
end
$$;
revoke execute on function batchgen_api.delete_batch_template(uuid, uuid)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.delete_batch_template(uuid, uuid) to authenticated, service_role;
comment on function batchgen_api.delete_batch_template(uuid, uuid) is 'Behind public.delete_batch_template.';

-- delete_batch_template(p_template_id, p_user_id)
-- Delete a template: {deleted: its id}. Batches that were made from it stay.
-- Caller: authenticated, for their own; service_role, for a user's, or for any.
create function public.delete_batch_template(p_template_id uuid, p_user_id uuid default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.delete_batch_template(p_template_id, p_user_id)
$$;
revoke execute on function public.delete_batch_template(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_batch_template(uuid, uuid) to authenticated, service_role;
comment on function public.delete_batch_template(uuid, uuid) is
  'Deletes a template; batches made from it stay.';

create function batchgen_api.publish_batch_template(p_template_id uuid, p_is_public boolean) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates := batchgen.own_template(p_template_id, null);
begin
  update batchgen.batch_templates t set is_public = coalesce(p_is_public, false) where t.id = p_template_id
  returning t.* into v_template;
  return batchgen.template_answer(v_template, null);
end
$$;
revoke execute on function batchgen_api.publish_batch_template(uuid, boolean)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.publish_batch_template(uuid, boolean) to service_role;
comment on function batchgen_api.publish_batch_template(uuid, boolean) is 'Behind public.publish_batch_template.';

-- publish_batch_template(p_template_id, p_is_public)
-- Let every signed-in user read and use a template, or no longer.
-- Caller: service_role.
create function public.publish_batch_template(p_template_id uuid, p_is_public boolean) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.publish_batch_template(p_template_id, p_is_public)
$$;
revoke execute on function public.publish_batch_template(uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function public.publish_batch_template(uuid, boolean) to service_role;
comment on function public.publish_batch_template(uuid, boolean) is
  'For operators: lets every user read and use a template, or no longer.';

-- read_template_name(p_name, p_field)
-- A template's name, trimmed. Errors: PT422.
create function batchgen.read_template_name(p_name text, p_field text) returns text
language plpgsql set search_path = '' as $$
declare
  v_name text := btrim(p_name, E' \t\r\n');
begin
  perform batchgen.check_text(v_name, p_field, 200);
  if v_name is null or batchgen.is_blank(v_name) then
    perform batchgen.refuse('blank_name', p_field || ' is empty.', p_field, 'Give the template a name.');
  end if;
  if batchgen.has_hidden_characters(v_name) then
    perform batchgen.refuse('not_allowed', p_field || ' has control or invisible characters.', p_field,
      'Use visible characters only.');
  end if;
  return v_name;
end
$$;
revoke execute on function batchgen.read_template_name(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.read_template_name(text, text) is 'A template''s name, checked.';

create function batchgen.refuse_template_name(p_name text, p_field text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('name_taken', format('There is another template named %s.', p_name), p_field,
    'Choose another name, or send replace to overwrite it.', null, null, 'PT409');
end
$$;
revoke execute on function batchgen.refuse_template_name(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_template_name(text, text) is 'Raises PT409: the name of a template is taken.';

-- request_of_batch(p_batch_id)
-- The request that makes the batch's prompts again with its settings, without seeds: they would make the same pictures.
create function batchgen.request_of_batch(p_batch_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'batch_name', b.name,
    'shared_settings', jsonb_build_object('model_id', b.model_id, 'model_version', b.model_version, 'width', b.width,
      'height', b.height, 'steps', b.steps, 'guidance_scale', b.guidance_scale),
    'prompts', coalesce((
      select jsonb_agg(jsonb_build_object('text', g.prompt, 'negative_prompt', g.negative_prompt, 'tags', (
        select jsonb_agg(t.name order by t.name) from batchgen.generation_tags t where t.generation_id = g.id
      )) order by g.batch_index, g.id)
      from public.image_generations g where g.batch_id = b.id
    ), '[]')
  ))
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function batchgen.request_of_batch(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.request_of_batch(uuid) is 'The request that makes a batch''s prompts again.';

-- check_template_request(p_request, p_settings)
-- The request of a template, without its client_key. Only its form is checked: a placeholder can stand for any value,
-- and the whole request is checked when a batch is made from it. Errors: PT422.
create function batchgen.check_template_request(p_request jsonb, p_settings batchgen.settings) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_prompts jsonb := p_request -> 'prompts';
  v_name text;
  v_names text[];
begin
  if jsonb_typeof(p_request) <> 'object' or jsonb_path_exists(p_request, 'strict $.**{5 to last}') then
    perform batchgen.refuse('wrong_type', 'request is not an object as for create_batch.', 'request',
      'Send {prompts, shared_settings, batch_name, choices, variations}.');
  end if;
  perform batchgen.refuse_unknown_fields(p_request, 'request.',
    '{prompts,shared_settings,batch_name,client_key,choices,variations}');
  if jsonb_typeof(v_prompts) is distinct from 'array'
    or jsonb_array_length(v_prompts) not between 1 and p_settings.max_batch_size
    or jsonb_path_exists(v_prompts, 'strict $[*] ? (@.type() != "object")')
  then
    perform batchgen.refuse('wrong_type', format('request.prompts is not a list of 1 to %s objects.',
      p_settings.max_batch_size), 'request.prompts', 'Send a list of {text, negative_prompt, seed, tags}.', null,
      to_jsonb(p_settings.max_batch_size));
  end if;
  for v_nth in 0 .. jsonb_array_length(v_prompts) - 1 loop
    perform batchgen.refuse_unknown_fields(v_prompts -> v_nth, format('request.prompts[%s].', v_nth),
      '{text,negative_prompt,seed,tags}', v_nth);
  end loop;
  if jsonb_typeof(p_request -> 'shared_settings') = 'object' then
    perform batchgen.refuse_unknown_fields(p_request -> 'shared_settings', 'request.shared_settings.',
      '{model_id,model_version,width,height,steps,guidance_scale}');
  end if;
  v_names := batchgen.placeholders_of(p_request - 'client_key');
  if cardinality(v_names) > 50 then
    perform batchgen.refuse('too_many_placeholders', format('request has %s placeholders; at most 50 are allowed.',
      cardinality(v_names)), 'request', 'Use at most 50 placeholders.', null, to_jsonb(50));
  end if;
  foreach v_name in array v_names loop
    if v_name = '' or length(v_name) > 50 or batchgen.has_hidden_characters(v_name) then
      perform batchgen.refuse('bad_placeholder', format('request has a placeholder with the name "%s".',
        left(v_name, 60)), 'request', 'Use 1 to 50 visible characters, such as {{animal}}.', null, to_jsonb(50));
    end if;
  end loop;
  return p_request - 'client_key';
end
$$;
revoke execute on function batchgen.check_template_request(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.check_template_request(jsonb, batchgen.settings) is
  'The request of a template, its form checked.';

-- read_template(p_template, p_user_id, p_settings)
-- An unwritten template: its request as sent, or that of a batch of the user (of any batch for the project's own).
-- Errors: PT422; PT404 batch_not_found.
create function batchgen.read_template(p_template jsonb, p_user_id uuid, p_settings batchgen.settings)
returns batchgen.batch_templates
language plpgsql security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates;
  v_batch_id text := batchgen.read_text(p_template -> 'batch_id', 'batch_id', 200);
  v_request jsonb := nullif(p_template -> 'request', 'null');
begin
  v_template.user_id := p_user_id;
  v_template.name := batchgen.read_template_name(batchgen.read_text(p_template -> 'name', 'name', 1000), 'name');
  if (v_batch_id is null) = (v_request is null) then
    perform batchgen.refuse('not_allowed', 'The template has ' || case when v_request is null
      then 'neither request nor batch_id.' else 'both request and batch_id.' end, 'request',
      'Send the request, or the id of the batch to save.');
  end if;
  if v_batch_id is not null then
    if v_batch_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
      select batchgen.request_of_batch(b.id) into v_request from public.batch_generations b
      where b.id = v_batch_id::uuid and (b.user_id = p_user_id or p_user_id is null);
    end if;
    if v_request is null or v_request -> 'prompts' = '[]' then
      perform batchgen.refuse('batch_not_found', 'Batch not found, or it belongs to another user.', 'batch_id',
        'Use the id of one of your batches.', null, null, 'PT404');
    end if;
  end if;
  v_template.request := batchgen.check_template_request(v_request, p_settings);
  v_template.defaults := batchgen.read_values(coalesce(nullif(p_template -> 'defaults', 'null'), '{}'),
    batchgen.placeholders_of(v_template.request), p_settings, 'defaults');
  return v_template;
end
$$;
revoke execute on function batchgen.read_template(jsonb, uuid, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_template(jsonb, uuid, batchgen.settings) is 'A template to save, checked.';

create function batchgen_api.save_batch_template(p_template jsonb, p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.template_user(p_user_id);
  v_settings batchgen.settings := (select s from batchgen.settings s);
  v_new batchgen.batch_templates;
  v_known batchgen.batch_templates;
  v_most integer := case when v_user_id is null then 1000 else 200 end;
begin
  perform batchgen.check_request(p_template, v_settings);
  perform batchgen.refuse_unknown_fields(p_template, '', '{name,request,batch_id,defaults,replace}');
  v_new := batchgen.read_template(p_template, v_user_id, v_settings);
  perform pg_advisory_xact_lock(hashtextextended(concat('batchgen.batch_templates ', v_user_id), 0));
  select t.* into v_known from batchgen.batch_templates t
  where t.user_id is not distinct from v_user_id and t.name = v_new.name for update;
  if not found then
    if (select count(*) from batchgen.batch_templates t where t.user_id is not distinct from v_user_id) >= v_most then
      perform batchgen.refuse_rows('too_many_templates', 'batch_templates', 'templates per user', v_most,
        'Delete some of yours first.');
    end if;
    insert into batchgen.batch_templates (user_id, name, request, defaults)
    values (v_user_id, v_new.name, v_new.request, v_new.defaults) returning * into v_known;
  elsif (v_known.request, v_known.defaults) is distinct from (v_new.request, v_new.defaults) then
    if not batchgen.read_flag(p_template -> 'replace', 'replace') then
      perform batchgen.refuse_template_name(v_new.name, 'name');
    end if;
    update batchgen.batch_templates t
    set request = v_new.request, defaults = v_new.defaults, is_public = t.is_public and batchgen.is_operator(),
      updated_at = clock_timestamp()
    where t.id = v_known.id returning t.* into v_known;
  end if;
  return batchgen.template_answer(v_known, v_user_id);
end
$$;
revoke execute on function batchgen_api.save_batch_template(jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.save_batch_template(jsonb, uuid) to authenticated, service_role;
comment on function batchgen_api.save_batch_template(jsonb, uuid) is 'Behind public.save_batch_template.';

-- save_batch_template(p_template, p_user_id)
-- Save {name, request or batch_id, defaults?, replace?} as a template. request: as for create_batch, with placeholders.
-- Sent again, it returns the same template; another one of that name only replaces it with replace. A replaced public
-- template becomes private, unless an operator replaces it. At most 200 per user, and 1,000 of the project.
-- Caller: authenticated, for themselves; service_role, for a user or for the project.
-- Locks: an advisory lock per owner, so that the limit holds.
-- Errors: PT409 name_taken; PT429 too_many_templates; PT404 batch_not_found; PT422.
create function public.save_batch_template(p_template jsonb, p_user_id uuid default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.save_batch_template(p_template, p_user_id)
$$;
revoke execute on function public.save_batch_template(jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function public.save_batch_template(jsonb, uuid) to authenticated, service_role;
comment on function public.save_batch_template(jsonb, uuid) is
  'Saves a request or a batch as a template.';
