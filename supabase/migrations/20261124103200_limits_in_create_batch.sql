-- create_batch counts what it accepts against the user's limits, refuses what is larger than any valid request before it
-- looks into it, and takes a guidance scale next to zero. A user who was deleted gets PT401. Else it is the one of
-- batch_functions.sql.

-- batchgen.check_request_size(...): every field at its longest fits, with room for fields that are ignored.
create function batchgen.check_request_size(p_request jsonb, p_settings batchgen.settings) returns void
language plpgsql set search_path = '' as $$
declare
  v_most integer := 65536 + p_settings.max_batch_size * (8 * p_settings.max_prompt_characters + 8192);
begin
  if pg_column_size(p_request) > v_most then
    perform batchgen.refuse('too_large', format('The request is larger than %s bytes.', v_most), 'request',
      'Send the fields that are documented and nothing else.', null, to_jsonb(v_most));
  end if;
end
$$;
revoke execute on function batchgen.check_request_size(jsonb, batchgen.settings) from public, anon, authenticated, service_role;

-- batchgen.changes_between(p_one, p_other): how many letters have to be added, removed or replaced to get from one short
-- word to the other.
create function batchgen.changes_between(p_one text, p_other text) returns integer
language plpgsql immutable set search_path = '' as $$
declare
  v_before integer[];
  v_row integer[] := array(select generate_series(0, length(p_other)));
begin
  for i in 1 .. length(p_one) loop
    v_before := v_row;
    v_row[1] := i;
    for j in 1 .. length(p_other) loop
      v_row[j + 1] := least(
        v_row[j] + 1, v_before[j + 1] + 1, v_before[j] + (substr(p_one, i, 1) <> substr(p_other, j, 1))::integer
      );
    end loop;
  end loop;
  return v_row[length(p_other) + 1];
end
$$;
revoke execute on function batchgen.changes_between(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.changes_between(text, text) is 'How many letters differ between two words.';

-- batchgen.refuse_unknown_fields(...): a field that would be ignored is refused, with the known one that is nearest.
create function batchgen.refuse_unknown_fields(p_object jsonb, p_path text, p_known text[], p_index integer default null) returns void
language plpgsql set search_path = '' as $$
declare
  v_name text;
  v_nearest text;
  v_field text;
begin
  select k into v_name from jsonb_object_keys(p_object) k where k <> all (p_known) limit 1;
  if not found then
    return;
  end if;
  select k into v_nearest
  from unnest(p_known) k
  cross join lateral (select batchgen.changes_between(lower(left(v_name, 40)), k) as changes) c
  where c.changes <= case when length(v_name) < 6 then 2 else 3 end
    or (length(v_name) > 2 and starts_with(k, lower(left(v_name, 40)))) or starts_with(lower(left(v_name, 40)), k)
  order by c.changes, k limit 1;
  v_field := p_path || left(v_name, 100);
  perform batchgen.refuse(
    'unknown_field', format('%s is not a field of a request.', v_field), v_field,
    case
      when v_nearest is not null then format('Did you mean %s? Otherwise leave it out.', v_nearest)
      else format('Leave it out. The fields here are %s.', array_to_string(p_known, ', '))
    end,
    p_index, to_jsonb(p_known)
  );
end
$$;
revoke execute on function batchgen.refuse_unknown_fields(jsonb, text, text[], integer) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_unknown_fields(jsonb, text, text[], integer) is 'Refuses a field that would be ignored.';

-- batchgen.request_hash(p_request): 128 bits that tell one request from another. Never by way of its text: a number that
-- takes ten bytes in jsonb may take a hundred thousand there.
create function batchgen.request_hash(p_request jsonb) returns bytea
language sql immutable set search_path = '' as $$
  select int8send(jsonb_hash_extended(p_request, 0)) || int8send(jsonb_hash_extended(p_request, 1))
$$;
revoke execute on function batchgen.request_hash(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.request_hash(jsonb) is 'Tells whether a client_key comes with the same request again.';

-- batchgen.create_batch_for(p_user_id, p_request)
-- Validates the whole request, then writes the batch, its items and (by trigger) their queue rows in this transaction.
-- States: nothing -> batch pending, items pending. Locks: the client_key's row, so that a resend waits for the first,
-- then what batchgen.take_from_limits locks. A resend counts against no limit.
create or replace function batchgen.create_batch_for(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_shared jsonb := p_request -> 'shared_settings';
  v_prompts jsonb := p_request -> 'prompts';
  v_count integer;
  v_most integer;
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
  perform batchgen.check_request_size(p_request, v_settings);
  if jsonb_typeof(p_request) is distinct from 'object' then
    perform batchgen.refuse('wrong_type', 'The request is not an object.', 'request', 'Send {prompts, shared_settings, batch_name}.');
  end if;

  v_client_key := batchgen.read_text(p_request -> 'client_key', 'client_key', 200);
  if v_client_key is not null then
    if batchgen.is_blank(v_client_key) then
      perform batchgen.refuse('blank_client_key', 'client_key is empty.', 'client_key', 'Send a value that is unique to this request, for example a UUID, or leave it out.');
    end if;
    v_hash := batchgen.request_hash(p_request - 'client_key');
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
  v_most := batchgen.max_batch_size_of(p_user_id);
  if v_count > v_most then
    perform batchgen.refuse('too_many_prompts', format('A batch has at most %s prompts; this one has %s.', v_most, v_count), 'prompts',
      'Split it into several batches.', null, to_jsonb(v_most));
  end if;

  perform batchgen.refuse_unknown_fields(p_request, '', '{prompts,shared_settings,batch_name,client_key}');
  if coalesce(jsonb_typeof(v_shared), 'null') not in ('null', 'object') then
    perform batchgen.refuse('wrong_type', 'shared_settings is not an object.', 'shared_settings', 'Send {model_id, model_version, width, height, steps, guidance_scale}, or leave it out.');
  end if;
  if jsonb_typeof(v_shared) = 'object' then
    perform batchgen.refuse_unknown_fields(v_shared, 'shared_settings.', '{model_id,model_version,width,height,steps,guidance_scale}');
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
  -- Rounded, since a number that is closer to zero than double precision can tell is an error there.
  v_guidance := coalesce(round(batchgen.read_number(v_shared -> 'guidance_scale', 'shared_settings.guidance_scale', 0,
    v_settings.max_guidance_scale::numeric, false), 100)::double precision, v_model.default_guidance_scale);

  for v_prompt, v_index in select p.value, p.ordinality - 1 from jsonb_array_elements(v_prompts) with ordinality p loop
    v_path := format('prompts[%s]', v_index);
    if jsonb_typeof(v_prompt) <> 'object' then
      perform batchgen.refuse('wrong_type', v_path || ' is not an object.', v_path, 'Send {text, negative_prompt, seed, tags}.', v_index);
    end if;
    perform batchgen.refuse_unknown_fields(v_prompt, v_path || '.', '{text,negative_prompt,seed,tags}', v_index);
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

  perform batchgen.hold_user(p_user_id);
  if v_client_key is not null then
    insert into batchgen.requests (user_id, client_key, body_hash) values (p_user_id, v_client_key, v_hash) on conflict do nothing;
    if not found then
      -- The same request, sent twice at once: the other one has just been committed.
      select r.* into v_known from batchgen.requests r where r.user_id = p_user_id and r.client_key = v_client_key;
      return batchgen.same_batch_again(v_known, v_hash);
    end if;
  end if;

  perform batchgen.take_from_limits(p_user_id, v_count);
  if v_tag_names <> '{}' then
    perform batchgen.check_new_tags(p_user_id, v_tag_names);
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
