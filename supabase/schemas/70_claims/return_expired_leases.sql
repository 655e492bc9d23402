-- return_expired_leases()
-- Take back items whose lease has expired. Returns their number.
-- Caller: service_role, and every claim.
-- States: processing -> pending, due at once, to run alone; failed as 'cancelled' if a cancel was requested, or as
-- 'crashed' after settings.max_crashes crashes while running alone.
-- Locks: skips locked rows, so it never waits.
create function public.return_expired_leases() returns integer
language plpgsql security definer set search_path = '' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_expired uuid[];
  v_poison uuid[];
  v_cancelled uuid[];
  v_orphaned uuid[];
  v_max_crashes integer;
begin
  if not exists (select from batchgen.queue q where q.state = 'running'
    and q.lease_expires_at <= clock_timestamp()) then
    return 0;
  end if;
  select s.max_crashes into v_max_crashes from batchgen.settings s;
  select array_agg(x.generation_id) filter (where not x.cancel_requested),
    array_agg(x.generation_id) filter (where not x.cancel_requested and x.ran_alone
      and x.lone_crash_count + 1 >= v_max_crashes),
    coalesce(array_agg(x.generation_id) filter (where x.cancel_requested), '{}')
  into v_expired, v_poison, v_cancelled
  from (
    select q.generation_id, q.ran_alone, q.lone_crash_count, q.cancel_requested
    from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    join public.batch_generations b on b.id = g.batch_id
    where q.state = 'running' and q.lease_expires_at <= clock_timestamp()
    for no key update of b, g, q skip locked
  ) x;
  -- Their batch was deleted while they ran, so there is none to lock.
  v_orphaned := array(
    select q.generation_id
    from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    where q.state = 'running' and q.lease_expires_at <= clock_timestamp() and g.batch_id is null
    for no key update of g, q skip locked
  );
  if v_cancelled <> '{}' then
    perform batchgen.end_as_failed(v_cancelled, 'cancelled', 'Cancelled by user');
  end if;
  if v_orphaned <> '{}' then
    perform batchgen.end_as_failed(v_orphaned, 'cancelled', 'The batch was deleted.');
  end if;
  if v_poison is not null then
    perform batchgen.end_as_failed(v_poison, 'crashed',
      format('The worker crashed %s times while it ran this item.', v_max_crashes));
  end if;
  if v_expired is not null then
    perform batchgen.take_back(array(select unnest(v_expired) except select unnest(v_poison)), 0, true, false);
  end if;
  return coalesce(cardinality(v_expired), 0) + cardinality(v_cancelled) + cardinality(v_orphaned);
end
$$;
revoke execute on function public.return_expired_leases() from public, anon, authenticated, service_role;
grant execute on function public.return_expired_leases() to service_role;
comment on function public.return_expired_leases() is 'For workers: takes back items whose lease has expired.';
