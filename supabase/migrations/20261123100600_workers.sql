-- batchgen.live_workers: workers seen within settings.worker_silence_seconds, or within half a lease if that is longer:
-- a worker with long leases calls less often while all of its slots are taken.
create view batchgen.live_workers with (security_invoker = on) as
select w.worker, w.first_seen, w.last_seen, w.lease_seconds, w.version, w.providers
from batchgen.workers w cross join batchgen.settings s
where w.last_seen > clock_timestamp()
  - make_interval(secs => greatest(s.worker_silence_seconds, w.lease_seconds / 2.0));
revoke all on batchgen.live_workers from public, anon, authenticated, service_role;
comment on view batchgen.live_workers is 'Workers that are running, as far as the database can know.';
comment on column batchgen.live_workers.worker is 'Name of the worker, as in queue.worker.';
comment on column batchgen.live_workers.first_seen is 'When it first called.';
comment on column batchgen.live_workers.last_seen is 'When it last claimed or renewed, to within three seconds.';
comment on column batchgen.live_workers.lease_seconds is 'Length of its leases in seconds.';
comment on column batchgen.live_workers.version is 'Its version of batchgen, if it reports one.';
comment on column batchgen.live_workers.providers is 'Providers that it can order from, if it reports them.';

-- get_workers()
-- The workers of the last day, running ones first. seconds_ago: seconds since the last call. is_live: running, as far
-- as the database can know. running: number of items that it runs.
-- Caller: service_role.
create function public.get_workers()
returns table (
  worker text, is_live boolean, running integer, first_seen timestamptz, last_seen timestamptz,
  seconds_ago double precision,
  version text, providers text[]
)
language sql stable security definer set search_path = '' as $$
  select w.worker, l.worker is not null,
    (select count(*) from batchgen.queue q where q.state = 'running' and q.worker = w.worker)::integer,
    w.first_seen, w.last_seen, greatest(extract(epoch from clock_timestamp() - w.last_seen), 0)::double precision,
    w.version, w.providers
  from batchgen.workers w left join batchgen.live_workers l on l.worker = w.worker
  where w.last_seen > clock_timestamp() - interval '1 day'
  order by l.worker is null, w.last_seen desc, w.worker
$$;
revoke execute on function public.get_workers() from public, anon, authenticated, service_role;
grant execute on function public.get_workers() to service_role;
comment on function public.get_workers() is
  'For operators: the workers of the last day, and which of them are running.';

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

-- worker_start()
-- Everything that a worker checks before its first claim: the functions that it will call, with their arguments, the
-- models that requests may name, with their providers, and whether pictures are public or private.
-- Create the policies on Realtime's topics that are missing.
-- Caller: service_role.
create function public.worker_start() returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.protect_topics();
  return jsonb_build_object(
    'functions', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'name', p.proname, 'arguments', coalesce(to_jsonb(p.proargnames), '[]')
      )), '[]')
      from pg_catalog.pg_proc p
      where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
        and p.prorettype <> 'pg_catalog.trigger'::regtype and has_function_privilege('service_role', p.oid, 'execute')
        and not has_function_privilege('anon', p.oid, 'execute')
    ),
    'models', (
      select coalesce(jsonb_agg(jsonb_build_object('name', left(m.name, 200), 'provider', m.provider)), '[]')
      from (select o.name, o.provider from batchgen.models o where o.is_active order by o.name limit 1000) m
    ),
    'pictures', (select s.pictures from batchgen.settings s)
  );
end
$$;
revoke execute on function public.worker_start() from public, anon, authenticated, service_role;
grant execute on function public.worker_start() to service_role;
comment on function public.worker_start() is
  'For workers: the functions that exist, the active models with their providers, and settings.pictures.';
