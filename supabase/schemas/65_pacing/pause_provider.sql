-- When a provider or model is not to be asked. A provider that asks to wait (HTTP 429) is left alone by every worker; a
-- model whose items keep failing by the provider's fault is left alone by its breaker, then tried with one item at a
-- time. Items of such a model are parked: they keep their place and their attempts, and other models go on.
--
-- Locks. Who finishes an item takes the provider's and then the breaker's row, last of all. A claim takes breakers that
-- are free (SKIP LOCKED) and parks and unparks what is free. So nobody waits here for somebody who waits.

-- shortest_wait(p_times)
-- In seconds, for what is told to wait for the n-th time in a row, whatever it is told: 1, 2, 4, … 300. So no answer, a
-- wait of 0 among them, makes a loop without a pause.
create function batchgen.shortest_wait(p_times integer) returns double precision
language sql immutable set search_path = '' as $$
  select least(300, 2 ^ least(greatest(p_times, 1) - 1, 20))::double precision
$$;
revoke execute on function batchgen.shortest_wait(integer) from public, anon, authenticated, service_role;
comment on function batchgen.shortest_wait(integer) is
  'The shortest wait in seconds for what is told to wait for the n-th time in a row.';

-- pause_provider(p_name, p_seconds, p_reason, p_began_at)
-- Nobody asks the provider for so many seconds, or for the shortest wait that its refusals make due; a longer pause
-- that is known already stays. p_began_at: when the attempt began that it refused. An attempt from before its last
-- refusal says nothing new.
create function batchgen.pause_provider(
  p_name text, p_seconds double precision, p_reason text, p_began_at timestamptz
) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.providers as p (name, not_before, reason, updated_at)
  values (
    left(p_name, 200),
      clock_timestamp() + make_interval(secs => greatest(batchgen.shortest_wait(1), least(p_seconds, 86400))),
    left(p_reason, 100), clock_timestamp()
  )
  on conflict (name) do update
  set refusals = p.refusals + (p_began_at > p.updated_at and p.refusals < 100)::integer,
    not_before = greatest(p.not_before, excluded.not_before, clock_timestamp() + make_interval(
      secs => batchgen.shortest_wait(p.refusals + (p_began_at > p.updated_at and p.refusals < 100)::integer)
    )),
    reason = case when excluded.not_before > p.not_before then excluded.reason else p.reason end,
    updated_at = case when p_began_at > p.updated_at then excluded.updated_at else p.updated_at end
$$;
revoke execute on function batchgen.pause_provider(text, double precision, text, timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.pause_provider(text, double precision, text, timestamptz) is
  'Nobody asks the provider for so many seconds.';
