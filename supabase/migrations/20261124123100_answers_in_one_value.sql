-- What a worker calls answers in one JSON value beside the functions that return rows: PostgREST's max-rows cuts rows off
-- without a word, and a lease that is cut off is held by nobody. Each is the function of its name, with its locks and
-- errors. Caller: service_role.

-- p_about: {version, providers} of the worker, for get_workers. claim_generations notes the worker; it is noted once more
-- only where it tells something new about itself.
create function public.claim_generations_as_json(p_worker text, p_limit integer, p_lease_seconds integer, p_about jsonb default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_claims jsonb;
begin
  select coalesce(jsonb_agg(to_jsonb(c)), '[]') into v_claims
  from public.claim_generations(p_worker, p_limit, p_lease_seconds) c;
  if p_about is not null and exists (
    select from batchgen.workers w
    where w.worker = p_worker and (
      w.version is distinct from p_about ->> 'version' or to_jsonb(w.providers) is distinct from p_about -> 'providers'
    )
  ) then
    perform batchgen.note_worker(p_worker, p_lease_seconds, p_about);
  end if;
  return jsonb_build_object('claims', v_claims);
end
$$;
comment on function public.claim_generations_as_json(text, integer, integer, jsonb) is
  'For workers: claim_generations, as {claims: [{generation_id, lease_id, …}]}.';

create function public.renew_leases_as_json(p_worker text, p_lease_ids uuid[], p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('renewals', coalesce(jsonb_agg(to_jsonb(r)), '[]'))
  from public.renew_leases(p_worker, p_lease_ids, p_lease_seconds) r
$$;
comment on function public.renew_leases_as_json(text, uuid[], integer) is
  'For workers: renew_leases, as {renewals: [{lease_id, lease_expires_at, cancel_requested}]}.';

create function public.release_generations_as_json(p_worker text, p_lease_ids uuid[]) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('released', coalesce(jsonb_agg(to_jsonb(r)), '[]'))
  from public.release_generations(p_worker, p_lease_ids) r
$$;
comment on function public.release_generations_as_json(text, uuid[]) is
  'For workers: release_generations, as {released: [{generation_id, lease_id}]}.';

create function public.take_storage_deletions_as_json(p_worker text, p_limit integer, p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('deletions', coalesce(jsonb_agg(to_jsonb(d)), '[]'))
  from public.take_storage_deletions(p_worker, p_limit, p_lease_seconds) d
$$;
comment on function public.take_storage_deletions_as_json(text, integer, integer) is
  'For workers: take_storage_deletions, as {deletions: [{deletion_id, lease_id, bucket_id, path}]}.';

create function public.take_open_orders_as_json(p_worker text, p_limit integer, p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('orders', coalesce(jsonb_agg(to_jsonb(o)), '[]'))
  from public.take_open_orders(p_worker, p_limit, p_lease_seconds) o
$$;
comment on function public.take_open_orders_as_json(text, integer, integer) is
  'For workers: take_open_orders, as {orders: [{order_key, lease_id, generation_id, provider, …}]}.';

revoke execute on function
  public.claim_generations_as_json(text, integer, integer, jsonb),
  public.renew_leases_as_json(text, uuid[], integer), public.release_generations_as_json(text, uuid[]),
  public.take_storage_deletions_as_json(text, integer, integer), public.take_open_orders_as_json(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function
  public.claim_generations_as_json(text, integer, integer, jsonb),
  public.renew_leases_as_json(text, uuid[], integer), public.release_generations_as_json(text, uuid[]),
  public.take_storage_deletions_as_json(text, integer, integer), public.take_open_orders_as_json(text, integer, integer)
to service_role;
