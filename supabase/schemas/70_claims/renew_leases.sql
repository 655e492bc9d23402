-- renew_leases(p_worker, p_lease_ids, p_lease_seconds)
-- Extend leases, counted from now. Returns one row per lease still held, with cancel_requested; a missing one is lost:
-- stop the item and drop the result.
-- Caller: service_role.
-- Locks: queue rows that no other session holds; the others are extended next time.
-- Errors: PT422 for an argument out of range.
create function public.renew_leases(p_worker text, p_lease_ids uuid[], p_lease_seconds integer)
returns table (lease_id uuid, lease_expires_at timestamptz, cancel_requested boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  return query
  with free as (
    select r.generation_id from batchgen.queue r
    where r.lease_id = any (p_lease_ids) and r.worker = p_worker and r.lease_expires_at > clock_timestamp()
    for no key update skip locked
  ),
  prolonged as (
    update batchgen.queue q
    set lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
    from free where q.generation_id = free.generation_id
    returning q.lease_id, q.lease_expires_at, q.cancel_requested
  )
  select p.lease_id, p.lease_expires_at, p.cancel_requested from prolonged p
  union all
  -- Another call holds the row, for example one that attaches a job: not lost, and extended next time.
  select r.lease_id, r.lease_expires_at, r.cancel_requested from batchgen.queue r
  where r.lease_id = any (p_lease_ids) and r.worker = p_worker and r.lease_expires_at > clock_timestamp()
    and r.lease_id not in (select p.lease_id from prolonged p);
  perform batchgen.note_worker(p_worker, p_lease_seconds);
end
$$;
revoke execute on function public.renew_leases(text, uuid[], integer) from public, anon, authenticated, service_role;
grant execute on function public.renew_leases(text, uuid[], integer) to service_role;
comment on function public.renew_leases(text, uuid[], integer) is
  'For workers: extends leases; a lease that is not returned is lost.';

-- renew_leases_as_json(p_worker, p_lease_ids, p_lease_seconds)
-- renew_leases as {renewals: [{lease_id, lease_expires_at, cancel_requested}]}, one JSON value: PostgREST's max-rows
-- silently cuts off rows, and a lease that was cut off would look lost.
-- Caller: service_role.
-- Errors: as renew_leases.
create function public.renew_leases_as_json(p_worker text, p_lease_ids uuid[], p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('renewals', coalesce(jsonb_agg(to_jsonb(r)), '[]'))
  from public.renew_leases(p_worker, p_lease_ids, p_lease_seconds) r
$$;
revoke execute on function public.renew_leases_as_json(text, uuid[], integer)
from public, anon, authenticated, service_role;
grant execute on function public.renew_leases_as_json(text, uuid[], integer) to service_role;
comment on function public.renew_leases_as_json(text, uuid[], integer) is
  'For workers: renew_leases, as {renewals: [{lease_id, lease_expires_at, cancel_requested}]}.';
