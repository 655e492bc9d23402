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
