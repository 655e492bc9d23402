-- release_generations(p_worker, p_lease_ids)
-- Hand items back, as in a planned shutdown. Costs no attempt; a provider's job stays attached for the next worker to
-- resume. Returns one row per item handed back.
-- Caller: service_role.
-- States: processing -> pending, due at once; failed as cancelled if its owner cancelled it.
-- Locks: batches, items, queue rows.
-- Errors: PT409 if none of the leases is held.
create function public.release_generations(p_worker text, p_lease_ids uuid[])
returns table (generation_id uuid, lease_id uuid)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_leases uuid[];
begin
  if coalesce(cardinality(p_lease_ids), 0) = 0 then
    return;
  end if;
  perform batchgen.lock_items(array(
    select q.generation_id from batchgen.queue q where q.lease_id = any (p_lease_ids) and q.worker = p_worker
  ));
  select array_agg(held.generation_id), array_agg(held.lease_id) into v_ids, v_leases
  from (
    select q.generation_id, q.lease_id from batchgen.queue q
    where q.lease_id = any (p_lease_ids) and q.worker = p_worker and q.lease_expires_at > clock_timestamp()
    order by q.generation_id for update
  ) held;
  if v_ids is null then
    perform batchgen.lease_lost(null, p_lease_ids[1]);
  end if;
  perform batchgen.take_back(v_ids, 0, false, false);
  return query select * from unnest(v_ids, v_leases);
end
$$;
revoke execute on function public.release_generations(text, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.release_generations(text, uuid[]) to service_role;
comment on function public.release_generations(text, uuid[]) is
  'For workers: hands leased items back without costing an attempt.';

-- release_generations_as_json(p_worker, p_lease_ids)
-- release_generations as {released: [{generation_id, lease_id}]}, one JSON value.
-- Caller: service_role.
-- Errors: as release_generations.
create function public.release_generations_as_json(p_worker text, p_lease_ids uuid[]) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('released', coalesce(jsonb_agg(to_jsonb(r)), '[]'))
  from public.release_generations(p_worker, p_lease_ids) r
$$;
revoke execute on function public.release_generations_as_json(text, uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.release_generations_as_json(text, uuid[]) to service_role;
comment on function public.release_generations_as_json(text, uuid[]) is
  'For workers: release_generations, as {released: [{generation_id, lease_id}]}.';
