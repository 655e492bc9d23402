-- batchgen.live_workers(): the workers that were seen within settings.worker_silence_seconds, or within half a lease
-- where that is longer: a worker with long leases calls less often while all of its slots are taken.
create view batchgen.live_workers with (security_invoker = on) as
select w.worker, w.first_seen, w.last_seen, w.lease_seconds, w.version, w.providers
from batchgen.workers w cross join batchgen.settings s
where w.last_seen > clock_timestamp()
  - make_interval(secs => greatest(s.worker_silence_seconds, w.lease_seconds / 2.0));
revoke all on batchgen.live_workers from public, anon, authenticated, service_role;
comment on view batchgen.live_workers is 'The workers that run, as far as the database can know.';
comment on column batchgen.live_workers.worker is 'The worker''s name, as in queue.worker.';
comment on column batchgen.live_workers.first_seen is 'When it first called.';
comment on column batchgen.live_workers.last_seen is 'When it last claimed or renewed, to within three seconds.';
comment on column batchgen.live_workers.lease_seconds is 'How long its leases are.';
comment on column batchgen.live_workers.version is 'Its version of batchgen, where it tells.';
comment on column batchgen.live_workers.providers is 'The providers that it can order from, where it tells.';

-- get_workers()
-- The workers of the last day, those that run first. seconds_ago: since it was last seen. is_live: whether it runs, as
-- far as the database can know. running: how many items it holds.
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
comment on function public.get_workers() is 'For operators: the workers of the last day, and which of them run.';

-- note_worker(p_worker, p_lease_seconds, p_about)
-- The worker has called just now. p_about: {version, providers}, where it tells. Never waits for another call of the
-- same worker. Rows of workers that were not seen for a day go when a new one comes.
-- Caller: the functions for workers, as their last step.
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
  'Notes that a worker has called, at most every three seconds.';

-- drain_worker(p_worker, p_seconds)
-- The worker makes way for a suspect for so long; 0: it does not any more. A renewal that has the worker's row just now
-- is not waited for.
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
comment on function batchgen.drain_worker(text, double precision) is 'Notes that a worker makes way for a suspect.';

-- worker_start()
-- What a worker looks at before its first claim: the functions that it is going to call, with their arguments, and the
-- models that requests may name, with their providers.
-- Caller: service_role.
create function public.worker_start() returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
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
    )
  )
$$;
revoke execute on function public.worker_start() from public, anon, authenticated, service_role;
grant execute on function public.worker_start() to service_role;
comment on function public.worker_start() is
  'For workers: the functions that are there, and the active models with their providers.';
