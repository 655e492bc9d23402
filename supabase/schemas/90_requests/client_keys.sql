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
revoke execute on function batchgen.same_batch_again(batchgen.requests, bytea)
from public, anon, authenticated, service_role;
comment on function batchgen.same_batch_again(batchgen.requests, bytea) is
  'Returns the batch of a repeated request; refuses another request with the same client_key.';
