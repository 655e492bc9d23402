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
