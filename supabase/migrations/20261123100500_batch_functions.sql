-- What the app's users may ask: create a batch.
--
-- Functions in public are thin and run as their caller; what needs the owner's rights stands in batchgen_api, a schema
-- that the API does not expose and in which a caller may execute the named functions and nothing else.
--
-- SQLSTATE PT422 (HTTP 422): the request breaks a rule and nothing was written. The error's detail is JSON:
--   {code, message, index, field, limit, remedy}: a stable code, the prompt's place from 0, the field as a path, the limit, and what to do.
-- SQLSTATE PT409 (HTTP 409): the client_key belongs to another request. SQLSTATE PT401 (HTTP 401): nobody is signed in.

create schema batchgen_api;
comment on schema batchgen_api is 'Functions behind the thin ones in public. Not exposed by the API.';
revoke all on schema batchgen_api from public;
grant usage on schema batchgen_api to authenticated, service_role;

create table batchgen.requests (
  user_id uuid not null references auth.users (id) on delete cascade,
  client_key text not null,
  body_hash bytea not null,
  batch_id uuid references public.batch_generations (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (user_id, client_key)
);
create index requests_batch on batchgen.requests (batch_id);
comment on table batchgen.requests is 'Which client_key made which batch: sending a request again gives the same batch.';

create table batchgen.generation_tags (
  generation_id uuid not null references public.image_generations (id) on delete cascade,
  name text not null,
  primary key (generation_id, name)
);
comment on table batchgen.generation_tags is 'Tags that a request asked for; they go on the picture when it is there.';

alter table batchgen.requests enable row level security;
alter table batchgen.generation_tags enable row level security;
create policy "Nobody" on batchgen.requests for all to public using (false);
create policy "Nobody" on batchgen.generation_tags for all to public using (false);
revoke all on batchgen.requests, batchgen.generation_tags from public, anon, authenticated, service_role;

-- batchgen.tag_image(p_image_id, p_generation_id)
-- Puts the requested tags on a finished picture; makes those that do not exist yet. Caller: complete_generation.
create function batchgen.tag_image(p_image_id uuid, p_generation_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from batchgen.generation_tags t where t.generation_id = p_generation_id) then
    return;
  end if;
  insert into public.tags (name)
  select t.name from batchgen.generation_tags t where t.generation_id = p_generation_id order by t.name
  on conflict do nothing;
  insert into public.image_tags (image_id, tag_id)
  select p_image_id, g.id
  from batchgen.generation_tags t join public.tags g on g.name = t.name
  where t.generation_id = p_generation_id
    and not exists (select from public.image_tags i where i.image_id = p_image_id and i.tag_id = g.id);
end
$$;
revoke execute on function batchgen.tag_image(uuid, uuid) from public, anon, authenticated, service_role;

-- batchgen.refuse(...): the one way in which a request is refused.
create function batchgen.refuse(
  p_code text, p_message text, p_field text, p_remedy text, p_index integer default null, p_limit jsonb default null,
  p_errcode text default 'PT422'
) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = p_errcode, message = p_message, hint = p_remedy,
    detail = jsonb_build_object(
      'code', p_code, 'message', p_message, 'index', p_index, 'field', p_field, 'limit', p_limit, 'remedy', p_remedy
    )::text;
end
$$;
revoke execute on function batchgen.refuse(text, text, text, text, integer, jsonb, text) from public, anon, authenticated, service_role;

-- batchgen.read_number(...): a number of the request, or null where it is missing. p_whole: no fraction allowed.
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
      format('Send %s from %s to %s, or leave it out.', v_kind, p_min, p_max), p_index, jsonb_build_object('min', p_min, 'max', p_max));
  end if;
  if v_number not between p_min and p_max then
    perform batchgen.refuse('out_of_range', format('%s is out of range: it must be from %s to %s.', p_field, p_min, p_max), p_field,
      format('Choose %s from %s to %s.', v_kind, p_min, p_max), p_index, jsonb_build_object('min', p_min, 'max', p_max));
  end if;
  return v_number;
end
$$;
revoke execute on function batchgen.read_number(jsonb, text, numeric, numeric, boolean, integer) from public, anon, authenticated, service_role;

-- batchgen.read_text(...): a text of the request, or null where it is missing. Length is checked first, so that a
-- huge value costs nothing.
create function batchgen.read_text(p_value jsonb, p_field text, p_max integer, p_index integer default null) returns text
language plpgsql set search_path = '' as $$
declare
  v_text text;
begin
  if coalesce(jsonb_typeof(p_value), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(p_value) <> 'string' then
    perform batchgen.refuse('wrong_type', format('%s is not a text.', p_field), p_field, 'Send a string.', p_index);
  end if;
  v_text := p_value #>> '{}';
  if length(v_text) > p_max then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field, length(v_text), p_max), p_field,
      format('Shorten it to %s characters.', p_max), p_index, to_jsonb(p_max));
  end if;
  return v_text;
end
$$;
revoke execute on function batchgen.read_text(jsonb, text, integer, integer) from public, anon, authenticated, service_role;

-- Blank: nothing but white space, in any script (U+00A0, U+2000 to U+200F and so on count, whatever the locale says).
create function batchgen.is_blank(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text !~ '[^\s\u0000-\u0020\u0085\u00A0\u1680\u180E\u2000-\u200F\u2028-\u202F\u205F\u2060\u3000\uFEFF]'
$$;
revoke execute on function batchgen.is_blank(text) from public, anon, authenticated, service_role;

-- batchgen.read_tags(...): the tags of one prompt: trimmed, lower case, each once.
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
    perform batchgen.refuse('wrong_type', format('%s is not a list.', v_field), v_field, 'Send a list of words.', p_index);
  end if;
  if jsonb_array_length(p_tags) > 20 then
    perform batchgen.refuse('too_many_tags', format('%s has %s tags; at most 20 are allowed.', v_field, jsonb_array_length(p_tags)), v_field,
      'Send at most 20 tags.', p_index, to_jsonb(20));
  end if;
  for v_tag in select value from jsonb_array_elements(p_tags) loop
    v_name := lower(btrim(batchgen.read_text(v_tag, v_field, 50, p_index), E' \t\r\n'));
    v_name := batchgen.check_tag_name(v_name, v_field, p_index);
    if v_name is null or batchgen.is_blank(v_name) then
      perform batchgen.refuse('blank_tag', format('%s has an empty tag.', v_field), v_field, 'Leave the tag out.', p_index);
    end if;
    if not v_name = any (v_names) then
      v_names := v_names || v_name;
    end if;
  end loop;
  return v_names;
end
$$;
revoke execute on function batchgen.read_tags(jsonb, integer) from public, anon, authenticated, service_role;

-- batchgen.find_model(p_model_id): the active model with this models.id or models.replicate_id; '' or null is the default one.
create function batchgen.find_model(p_model_id text) returns public.models
language plpgsql stable set search_path = '' as $$
declare
  v_model public.models;
begin
  if coalesce(p_model_id, '') = '' then
    select m.* into v_model from public.models m where m.is_active and m.is_default order by m.sort_order, m.name limit 1;
    if not found then
      perform batchgen.refuse('no_default_model', 'No active model is marked as the default.', 'shared_settings.model_id',
        'Name a model, or have an admin set models.is_default on an active one.');
    end if;
    return v_model;
  end if;
  select m.* into v_model from public.models m
  where m.id::text = lower(p_model_id) or m.replicate_id = p_model_id
  order by m.is_active desc nulls last, m.sort_order, m.name limit 1;
  if not found then
    perform batchgen.refuse('unknown_model', 'shared_settings.model_id names no model.', 'shared_settings.model_id',
      'Use models.id or models.replicate_id of an active model, or leave it out for the default one.');
  end if;
  if v_model.is_active is not true then
    -- Without its name: an admin may have hidden it.
    perform batchgen.refuse('inactive_model', 'This model is not offered.', 'shared_settings.model_id', 'Choose an active model.');
  end if;
  return v_model;
end
$$;
revoke execute on function batchgen.find_model(text) from public, anon, authenticated, service_role;

-- batchgen.batch_answer(p_batch_id): a batch and its items as create_batch answers them.
create function batchgen.batch_answer(p_batch_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('batch', jsonb_build_object(
    'id', b.id, 'name', b.name, 'total_count', b.total_count, 'status', b.status,
    'generations', coalesce((
      select jsonb_agg(jsonb_build_object('id', g.id, 'index', g.batch_index, 'prompt', g.prompt, 'status', g.status, 'seed', g.seed) order by g.batch_index)
      from public.image_generations g where g.batch_id = b.id
    ), '[]')
  ))
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function batchgen.batch_answer(uuid) from public, anon, authenticated, service_role;

-- batchgen.create_batch_for(p_user_id, p_request)
-- Validates the whole request, then writes the batch, its items and (by trigger) their queue rows in this transaction.
-- States: nothing -> batch pending, items pending. Locks: the client_key's row, so that a resend waits for the first.
create function batchgen.create_batch_for(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_shared jsonb := p_request -> 'shared_settings';
  v_prompts jsonb := p_request -> 'prompts';
  v_count integer;
  v_model public.models;
  v_name text;
  v_model_version text;
  v_client_key text;
  v_width integer;
  v_height integer;
  v_steps integer;
  v_guidance double precision;
  v_prompt jsonb;
  v_index integer;
  v_path text;
  v_text text;
  v_seed bigint;
  v_seeds bigint[] := array[]::bigint[];
  v_texts text[] := array[]::text[];
  v_negatives text[] := array[]::text[];
  v_tags text[];
  v_tag_indexes integer[] := array[]::integer[];
  v_tag_names text[] := array[]::text[];
  v_hash bytea;
  v_known batchgen.requests;
  v_batch_id uuid := gen_random_uuid();
begin
  select s.* into v_settings from batchgen.settings s;
  if jsonb_typeof(p_request) is distinct from 'object' then
    perform batchgen.refuse('wrong_type', 'The request is not an object.', 'request', 'Send {prompts, shared_settings, batch_name}.');
  end if;

  v_client_key := batchgen.read_text(p_request -> 'client_key', 'client_key', 200);
  if v_client_key is not null then
    if batchgen.is_blank(v_client_key) then
      perform batchgen.refuse('blank_client_key', 'client_key is empty.', 'client_key', 'Send a value that is unique to this request, for example a UUID, or leave it out.');
    end if;
    v_hash := sha256(convert_to((p_request - 'client_key')::text, 'UTF8'));
    select r.* into v_known from batchgen.requests r where r.user_id = p_user_id and r.client_key = v_client_key;
    if found then
      return batchgen.same_batch_again(v_known, v_hash);
    end if;
  end if;

  if coalesce(jsonb_typeof(v_prompts), 'null') = 'null' then
    perform batchgen.refuse('prompts_missing', 'prompts is missing.', 'prompts',
      format('Send a list of %s to %s prompts.', v_settings.min_batch_size, v_settings.max_batch_size));
  end if;
  if jsonb_typeof(v_prompts) <> 'array' then
    perform batchgen.refuse('wrong_type', 'prompts is not a list.', 'prompts', 'Send a list of {text, negative_prompt, seed, tags}.');
  end if;
  v_count := jsonb_array_length(v_prompts);
  if v_count < v_settings.min_batch_size then
    perform batchgen.refuse('too_few_prompts', format('A batch has at least %s prompts; this one has %s.', v_settings.min_batch_size, v_count), 'prompts',
      format('Send %s to %s prompts.', v_settings.min_batch_size, v_settings.max_batch_size), null, to_jsonb(v_settings.min_batch_size));
  end if;
  if v_count > v_settings.max_batch_size then
    perform batchgen.refuse('too_many_prompts', format('A batch has at most %s prompts; this one has %s.', v_settings.max_batch_size, v_count), 'prompts',
      'Split it into several batches.', null, to_jsonb(v_settings.max_batch_size));
  end if;

  if coalesce(jsonb_typeof(v_shared), 'null') not in ('null', 'object') then
    perform batchgen.refuse('wrong_type', 'shared_settings is not an object.', 'shared_settings', 'Send {model_id, model_version, width, height, steps, guidance_scale}, or leave it out.');
  end if;
  v_name := batchgen.read_text(p_request -> 'batch_name', 'batch_name', 200);
  if batchgen.is_blank(v_name) then
    v_name := null;
  end if;
  v_model := batchgen.find_model(batchgen.read_text(v_shared -> 'model_id', 'shared_settings.model_id', 200));
  v_model_version := nullif(batchgen.read_text(v_shared -> 'model_version', 'shared_settings.model_version', 200), '');
  v_width := coalesce(batchgen.read_number(v_shared -> 'width', 'shared_settings.width',
    coalesce(v_model.min_width, 16), coalesce(v_model.max_width, 4096), true), v_model.default_width, 1024);
  v_height := coalesce(batchgen.read_number(v_shared -> 'height', 'shared_settings.height',
    coalesce(v_model.min_height, 16), coalesce(v_model.max_height, 4096), true), v_model.default_height, 1024);
  v_steps := coalesce(batchgen.read_number(v_shared -> 'steps', 'shared_settings.steps', 1, coalesce(v_model.max_steps, 200), true), v_model.default_steps);
  v_guidance := coalesce(batchgen.read_number(v_shared -> 'guidance_scale', 'shared_settings.guidance_scale', 0,
    v_settings.max_guidance_scale::numeric, false)::double precision, v_model.default_guidance_scale);

  for v_prompt, v_index in select p.value, p.ordinality - 1 from jsonb_array_elements(v_prompts) with ordinality p loop
    v_path := format('prompts[%s]', v_index);
    if jsonb_typeof(v_prompt) <> 'object' then
      perform batchgen.refuse('wrong_type', v_path || ' is not an object.', v_path, 'Send {text, negative_prompt, seed, tags}.', v_index);
    end if;
    v_text := batchgen.read_text(v_prompt -> 'text', v_path || '.text', v_settings.max_prompt_characters, v_index);
    if v_text is null or batchgen.is_blank(v_text) then
      perform batchgen.refuse('blank_prompt', v_path || '.text is empty.', v_path || '.text', 'Say what the picture should show, or remove the prompt.', v_index);
    end if;
    v_texts := v_texts || v_text;
    v_negatives := v_negatives || nullif(batchgen.read_text(v_prompt -> 'negative_prompt', v_path || '.negative_prompt', v_settings.max_prompt_characters, v_index), '');
    v_seeds := v_seeds || batchgen.read_number(v_prompt -> 'seed', v_path || '.seed', -9223372036854775808, 9223372036854775807, true, v_index)::bigint;
    v_tags := batchgen.read_tags(v_prompt -> 'tags', v_index);
    v_tag_indexes := v_tag_indexes || array_fill(v_index, array[cardinality(v_tags)]);
    v_tag_names := v_tag_names || v_tags;
  end loop;

  -- Every item has a seed of its own, chosen here where the request has none: 31 bits, which every provider takes.
  for v_index in 1 .. v_count loop
    while v_seeds[v_index] is null loop
      v_seed := floor(random() * 2147483648)::bigint;
      if array_position(v_seeds, v_seed) is null then
        v_seeds[v_index] := v_seed;
      end if;
    end loop;
  end loop;

  if v_client_key is not null then
    insert into batchgen.requests (user_id, client_key, body_hash) values (p_user_id, v_client_key, v_hash) on conflict do nothing;
    if not found then
      -- The same request, sent twice at once: the other one has just been committed.
      select r.* into v_known from batchgen.requests r where r.user_id = p_user_id and r.client_key = v_client_key;
      return batchgen.same_batch_again(v_known, v_hash);
    end if;
  end if;

  insert into public.batch_generations (id, user_id, name, total_count, completed_count, failed_count, status,
    model_id, model_version, width, height, steps, guidance_scale)
  values (v_batch_id, p_user_id, v_name, v_count, 0, 0, 'pending', v_model.id::text, v_model_version, v_width, v_height, v_steps, v_guidance);

  with written as (
    insert into public.image_generations (user_id, prompt, negative_prompt, model, model_id, width, height, steps,
      guidance_scale, seed, status, batch_id, batch_index, retry_count, priority)
    select p_user_id, t.prompt, t.negative_prompt, v_model.name, v_model.id, v_width, v_height, v_steps,
      v_guidance, t.seed, 'pending', v_batch_id, t.nth - 1, 0, 0
    from unnest(v_texts, v_negatives, v_seeds) with ordinality t (prompt, negative_prompt, seed, nth)
    returning id, batch_index
  )
  insert into batchgen.generation_tags (generation_id, name)
  select w.id, t.name from written w join unnest(v_tag_indexes, v_tag_names) t (index, name) on t.index = w.batch_index;

  if v_client_key is not null then
    update batchgen.requests r set batch_id = v_batch_id where r.user_id = p_user_id and r.client_key = v_client_key;
  end if;
  return batchgen.batch_answer(v_batch_id);
end
$$;
revoke execute on function batchgen.create_batch_for(uuid, jsonb) from public, anon, authenticated, service_role;

create function batchgen.same_batch_again(p_known batchgen.requests, p_hash bytea) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if p_known.body_hash <> p_hash then
    perform batchgen.refuse('client_key_reused', 'client_key was used before for another request.', 'client_key',
      'Use a new client_key for a new request; send the same body to get the same batch.', null, null, 'PT409');
  end if;
  return batchgen.batch_answer(p_known.batch_id);
end
$$;
revoke execute on function batchgen.same_batch_again(batchgen.requests, bytea) from public, anon, authenticated, service_role;

create function batchgen_api.create_batch(p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'Nobody is signed in.', null, 'Sign in, then try again.', null, null, 'PT401');
  end if;
  return batchgen.create_batch_for(auth.uid(), p_request);
end
$$;
revoke execute on function batchgen_api.create_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.create_batch(jsonb) to authenticated;

-- create_batch(p_request): {prompts: [{text, negative_prompt?, seed?, tags?}], shared_settings?: {model_id, model_version,
-- width, height, steps, guidance_scale}, batch_name?, client_key?} -> {batch: {id, name, total_count, status,
-- generations: [{id, index, prompt, status, seed}]}}. Caller: authenticated, for themselves.
-- anon may call it to be told what is wrong: PT401 not_signed_in.
create function public.create_batch(p_request jsonb) returns jsonb
language plpgsql set search_path = '' as $$
begin
  -- The schema behind it is closed to anon, and so are its words.
  if auth.uid() is null then
    raise exception using errcode = 'PT401', message = 'Nobody is signed in.', hint = 'Sign in, then try again.',
      detail = jsonb_build_object(
        'code', 'not_signed_in', 'message', 'Nobody is signed in.', 'index', null, 'field', null, 'limit', null,
        'remedy', 'Sign in, then try again.'
      )::text;
  end if;
  return batchgen_api.create_batch(p_request);
end
$$;
revoke execute on function public.create_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_batch(jsonb) to anon, authenticated;
comment on function public.create_batch(jsonb) is 'Submits a batch of prompts for the signed-in user.';

-- create_batch_as(p_user_id, p_request): the same for an operator who acts for a user. Caller: service_role.
create function public.create_batch_as(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('unknown_user', 'p_user_id is not a user of this project.', 'p_user_id', 'Use the id of a row in auth.users.');
  end if;
  return batchgen.create_batch_for(p_user_id, p_request);
end
$$;
revoke execute on function public.create_batch_as(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_batch_as(uuid, jsonb) to service_role;
comment on function public.create_batch_as(uuid, jsonb) is 'Submits a batch of prompts in the name of a user; for operators.';
