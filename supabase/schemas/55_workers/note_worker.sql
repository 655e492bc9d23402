-- note_worker(p_worker, p_lease_seconds, p_about)
-- Record that the worker has called. p_about: {version, providers}, if the worker reports them. Never waits for another
-- call of the same worker. When a new worker appears, rows of workers not seen for a day are deleted.
-- Caller: the worker functions, as their last step.
create function batchgen.note_worker(p_worker text, p_lease_seconds integer, p_about jsonb default null) returns void
language plpgsql security definer set search_path = '' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_providers text[] := case when jsonb_typeof(p_about -> 'providers') = 'array' then array(
    select left(p.value, 100) from jsonb_array_elements_text(p_about -> 'providers') with ordinality p
      order by p.ordinality limit 50
  ) end;
begin
  update batchgen.workers w
  set last_seen = v_now, lease_seconds = p_lease_seconds,
    version = coalesce(left(p_about ->> 'version', 100), w.version),
    providers = coalesce(v_providers, w.providers)
  from (
    select o.worker from batchgen.workers o
    where o.worker = p_worker
      and (
        o.last_seen not between v_now - interval '3 seconds' and v_now or o.lease_seconds <> p_lease_seconds
        or left(p_about ->> 'version', 100) <> coalesce(o.version, '') or v_providers <> coalesce(o.providers, '{}')
      )
    for no key update skip locked
  ) due
  where w.worker = due.worker;
  if found or exists (select from batchgen.workers w where w.worker = p_worker) then
    return;
  end if;
  delete from batchgen.workers w where w.worker in (
    select o.worker from batchgen.workers o where o.last_seen < v_now - interval '1 day' for update skip locked
  );
  insert into batchgen.workers (worker, lease_seconds, version, providers)
  values (p_worker, p_lease_seconds, left(p_about ->> 'version', 100), v_providers)
  on conflict do nothing;
end
$$;
revoke execute on function batchgen.note_worker(text, integer, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.note_worker(text, integer, jsonb) is
  'Records that a worker has called, at most every three seconds.';

-- drain_worker(p_worker, p_seconds)
-- Mark the worker as draining for a suspect for p_seconds; 0 ends that. Skips the row if a renewal has it locked.
create function batchgen.drain_worker(p_worker text, p_seconds double precision) returns void
language sql security definer set search_path = '' as $$
  update batchgen.workers w set drains_until = case when p_seconds > 0
    then clock_timestamp() + make_interval(secs => p_seconds) end
  where w.worker = (
    select o.worker from batchgen.workers o
    where o.worker = p_worker and (p_seconds > 0 or o.drains_until is not null) for no key update skip locked
  )
$$;
revoke execute on function batchgen.drain_worker(text, double precision) from public, anon, authenticated, service_role;
comment on function batchgen.drain_worker(text, double precision) is
  'Marks a worker as draining, to make room for a suspect.';
