-- batch_answer(p_batch_id)
-- A batch and its items as create_batch returns them.
create function batchgen.batch_answer(p_batch_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('batch', jsonb_build_object(
    'id', b.id, 'name', b.name, 'total_count', b.total_count, 'status', b.status,
    'generations', coalesce((
      select jsonb_agg(jsonb_build_object('id', g.id, 'index', g.batch_index, 'prompt', g.prompt, 'status', g.status,
        'seed', g.seed) order by g.batch_index)
      from public.image_generations g where g.batch_id = b.id
    ), '[]')
  ))
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function batchgen.batch_answer(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.batch_answer(uuid) is 'A batch and its items as create_batch returns them.';

-- request_hash(p_request)
-- 128-bit hash of a request. Computed from jsonb, never from its text: a number of ten bytes in jsonb may be a hundred
-- thousand characters as text.
create function batchgen.request_hash(p_request jsonb) returns bytea
language sql immutable set search_path = '' as $$
  select int8send(jsonb_hash_extended(p_request, 0)) || int8send(jsonb_hash_extended(p_request, 1))
$$;
revoke execute on function batchgen.request_hash(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.request_hash(jsonb) is
  'Hash that tells whether a client_key comes with the same request again.';

-- repeated_batch(p_user_id, p_request)
-- The batch that an earlier request with the same client_key and the same body made; null if there is none.
-- Caller: create_batch_for, preview_batch_for, before they read the rest of the request.
-- Errors: PT422 if the request is too large, no object, or its client_key invalid; PT409 if the client_key belongs to
-- another request.
create function batchgen.repeated_batch(p_user_id uuid, p_request jsonb) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_client_key text;
  v_known batchgen.requests;
begin
  select s.* into v_settings from batchgen.settings s;
  perform batchgen.check_request(p_request, v_settings);
  v_client_key := batchgen.read_client_key(p_request);
  if v_client_key is null then
    return null;
  end if;
  select r.* into v_known from batchgen.requests r where r.user_id = p_user_id and r.client_key = v_client_key;
  if v_known.body_hash <> batchgen.request_hash(p_request - 'client_key') then
    perform batchgen.refuse('client_key_reused', 'client_key was used before for another request.', 'client_key',
      'Use a new client_key for a new request; send the same body to get the same batch.', null, null, 'PT409');
  end if;
  return v_known.batch_id;
end
$$;
revoke execute on function batchgen.repeated_batch(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.repeated_batch(uuid, jsonb) is
  'The batch of a repeated request; refuses another request with the same client_key.';

-- note_client_key(p_user_id, p_request)
-- Record the request's client_key, if it has one. False if another request with that key was committed first.
-- Locks: the client_key's row, so that a repeated request waits for the first.
create function batchgen.note_client_key(p_user_id uuid, p_request jsonb) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_client_key text := batchgen.read_client_key(p_request);
begin
  if v_client_key is null then
    return true;
  end if;
  insert into batchgen.requests (user_id, client_key, body_hash)
  values (p_user_id, v_client_key, batchgen.request_hash(p_request - 'client_key'))
  on conflict do nothing;
  return found;
end
$$;
revoke execute on function batchgen.note_client_key(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.note_client_key(uuid, jsonb) is
  'Records the client_key of a request; false if another request with it came first.';
