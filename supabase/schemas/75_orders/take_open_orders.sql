-- take_open_orders(p_worker, p_limit, p_lease_seconds)
-- Lease open orders that are due to be asked about. For the first half minute only the worker that sent an order gets
-- it: some services answer only that one.
-- Caller: service_role.
-- Locks: skips locked rows.
create function public.take_open_orders(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  order_key uuid, lease_id uuid, generation_id uuid, provider text, provider_job_id text, model text, version text,
  inputs jsonb, seed bigint, ordered_seconds_ago double precision
)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 1000', 'Take fewer per call.');
  end if;
  delete from batchgen.orders o where o.key in (
    select s.key from batchgen.orders s
    where s.is_settled and s.ended_at is not null and s.ask_at <= clock_timestamp() for update skip locked
  );
  return query
  with due as (
    select o.key from batchgen.orders o
    where o.ended_at is not null and o.ask_at <= clock_timestamp() and not o.is_settled
      and (o.lease_expires_at is null or o.lease_expires_at <= clock_timestamp())
      and (o.worker = p_worker or o.ended_at <= clock_timestamp() - interval '30 seconds')
    order by o.ask_at limit p_limit for no key update skip locked
  )
  update batchgen.orders o
  set lease_id = gen_random_uuid(), lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
  from due where o.key = due.key
  returning o.key, o.lease_id, o.generation_id, o.provider, o.provider_job_id, o.provider_model, o.provider_version,
  o.inputs, o.seed, extract(epoch from clock_timestamp() - o.ordered_at)::double precision;
end
$$;
revoke execute on function public.take_open_orders(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_open_orders(text, integer, integer) to service_role;
comment on function public.take_open_orders(text, integer, integer) is
  'For workers: leases open orders, to ask their providers for the outcome.';

-- take_open_orders_as_json(p_worker, p_limit, p_lease_seconds)
-- take_open_orders as {orders: [{order_key, lease_id, generation_id, provider, …}]}, one JSON value.
-- Caller: service_role.
-- Errors: as take_open_orders.
create function public.take_open_orders_as_json(p_worker text, p_limit integer, p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('orders', coalesce(jsonb_agg(to_jsonb(o)), '[]'))
  from public.take_open_orders(p_worker, p_limit, p_lease_seconds) o
$$;
revoke execute on function public.take_open_orders_as_json(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_open_orders_as_json(text, integer, integer) to service_role;
comment on function public.take_open_orders_as_json(text, integer, integer) is
  'For workers: take_open_orders, as {orders: [{order_key, lease_id, generation_id, provider, …}]}.';
