-- begin_order(p_generation_id, p_lease_id, p_order)
-- Record an order before it is sent, so that the next worker of the item knows of it. p_order: {provider, model,
-- version, inputs}. Returns its key. An earlier order of the item that never arrived becomes this one. An order of an
-- earlier attempt that has a job is left open, and a sweep asks for its outcome.
-- Caller: service_role.
-- Locks: the queue row, then the order, like attach_provider_job.
-- Errors: PT409 if the lease is not held. PT422 for an invalid p_order, for an item that runs again only to fetch its
-- picture, and for a second job in one attempt.
create function public.begin_order(p_generation_id uuid, p_lease_id uuid, p_order jsonb) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_item batchgen.queue;
  v_order batchgen.orders;
  v_key uuid;
begin
  if coalesce(p_order ->> 'provider', '') = '' or coalesce(jsonb_typeof(p_order -> 'inputs'), 'object') <> 'object' then
    perform batchgen.refuse_argument('p_order', 'has no provider, or its inputs are not an object',
      'Send {provider, model, version, inputs}.');
  end if;
  select q.* into v_item from batchgen.queue q
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id and q.lease_expires_at > clock_timestamp()
    for no key update;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  select o.* into v_order from batchgen.orders o where o.key = v_item.order_key;
  if v_order.is_late then
    perform batchgen.refuse_argument('p_generation_id', 'runs again only to fetch a finished picture',
      'Resume its job; do not order again.');
  elsif v_order.provider_job_id is not null and not batchgen.is_in_ledger(v_order.key) then
    perform batchgen.refuse_argument('p_generation_id', 'has a job of this attempt', 'Wait for that job.');
  elsif v_order.provider_job_id is not null then
    perform batchgen.leave_orders(array[v_order.key]);
    v_item.order_key := null;
  end if;
  insert into batchgen.orders as o (
    key, generation_id, user_id, batch_id, model_id, seed, provider, provider_model, provider_version, inputs,
    price_usd, worker
  )
  select coalesce(v_item.order_key, gen_random_uuid()), g.id, v_item.user_id, g.batch_id, v_item.model_id,
    coalesce(g.seed, 0), p_order ->> 'provider', p_order ->> 'model', p_order ->> 'version',
    coalesce(p_order -> 'inputs', '{}'),
    (select m.price_usd from batchgen.models m where m.id = v_item.model_id), v_item.worker
  from public.image_generations g where g.id = p_generation_id
  on conflict (key) do update
  set batch_id = excluded.batch_id, model_id = excluded.model_id, seed = excluded.seed, provider = excluded.provider,
    provider_model = excluded.provider_model, provider_version = excluded.provider_version, inputs = excluded.inputs,
    price_usd = excluded.price_usd, worker = excluded.worker, ordered_at = clock_timestamp(), is_charged = null,
    queued_seconds = null, running_seconds = null, is_settled = false
  returning o.key into v_key;
  update batchgen.queue q set order_key = v_key, provider = null, provider_job_id = null
    where q.generation_id = p_generation_id;
  return v_key;
end
$$;
revoke execute on function public.begin_order(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.begin_order(uuid, uuid, jsonb) to service_role;
comment on function public.begin_order(uuid, uuid, jsonb) is
  'For workers: records an order before it is sent, and returns its key.';

-- is_in_ledger(p_order_key)
-- True if an attempt with this order has ended.
create function batchgen.is_in_ledger(p_order_key uuid) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (select from batchgen.ledger l where l.order_key = p_order_key);
end
$$;
revoke execute on function batchgen.is_in_ledger(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.is_in_ledger(uuid) is 'True if an attempt with this order has ended.';
