-- queue_outlook()
-- State of the queue for a worker that got no items: {due_in_seconds, delayed, paused, waiting, running, closed}.
-- due_in_seconds: time until the first delayed or paused item may start; null if there is none, or the time is unknown.
-- delayed, paused, waiting, running: number of items that are due later, whose provider or model is paused, that wait
-- for room under a limit, and that run. closed: names of the paused providers and models, ten at most, with the error
-- code.
-- Caller: service_role.
create function public.queue_outlook() returns jsonb
language sql security definer set search_path = '' as $$
  with closed as materialized (
    select c.model_id, max(c.until) as until, min(coalesce(c.name, 'unknown')) as name
    from batchgen.closed_models() c group by c.model_id
  ),
  items as materialized (
    select q.state, q.model_id, c.model_id is not null as is_closed, greatest(q.due_at, c.until) as due_at,
      -- While a probe of a model runs, the time when its other items may start is unknown.
      c.model_id is null or c.until is not null as is_known
    from batchgen.queue q left join closed c on c.model_id = q.model_id and q.state <> 'running'
  )
  select jsonb_build_object(
    'due_in_seconds', (
      select round(greatest(0, extract(epoch from f.due_at - clock_timestamp())), 3)
      from (
        select min(o.due_at) as due_at from items o
        where o.is_known and (o.state in ('delayed', 'parked') or (o.state = 'waiting' and o.is_closed))
      ) f
      where f.due_at is not null
    ),
    'delayed', count(*) filter (where i.state = 'delayed'),
    'paused', count(*) filter (where i.state = 'parked' or (i.state = 'waiting' and i.is_closed)),
    'waiting', count(*) filter (where i.state = 'waiting' and not i.is_closed),
    'running', count(*) filter (where i.state = 'running'),
    'closed', (
      select coalesce(jsonb_agg(n.name order by n.name), '[]')
      from (
        select distinct left(concat_ws(': ', c.name, coalesce(p.reason, b.reason)), 200) as name
        from closed c
        left join batchgen.providers p on p.name = c.name
        left join batchgen.breakers b on b.model_id = c.model_id
        where c.model_id in (select o.model_id from items o where o.state <> 'running')
        order by 1 limit 10
      ) n
    )
  )
  from items i
$$;
revoke execute on function public.queue_outlook() from public, anon, authenticated, service_role;
grant execute on function public.queue_outlook() to service_role;
comment on function public.queue_outlook() is
  'For workers: number of items by state, and how soon the next one may start.';
