-- Pauses of providers and models. No worker calls a provider that asked to wait (HTTP 429). The breaker of a model
-- whose items keep failing through the provider's fault starts nothing for a while, then one item at a time. Items of
-- such a model are parked: they keep their place and their attempts, and other models go on.
--
-- Locks. The session that ends an item locks the provider's and then the breaker's row, last of all. A claim takes only
-- breakers that are free (SKIP LOCKED) and parks and unparks only free rows. So no session waits here for a waiting
-- one.

-- shortest_wait(p_times)
-- Minimum wait in seconds after the n-th consecutive request to wait, whatever the provider says: 1, 2, 4, … 300. So no
-- answer, such as a wait of 0, causes a loop without a pause.
create function batchgen.shortest_wait(p_times integer) returns double precision
language sql immutable set search_path = '' as $$
  select least(300, 2 ^ least(greatest(p_times, 1) - 1, 20))::double precision
$$;
revoke execute on function batchgen.shortest_wait(integer) from public, anon, authenticated, service_role;
comment on function batchgen.shortest_wait(integer) is
  'Minimum wait in seconds after the n-th consecutive request to wait.';

-- pause_provider(p_name, p_seconds, p_reason, p_began_at)
-- Pause the provider for p_seconds, or for the minimum wait after its refusals if that is longer; an existing longer
-- pause stays. p_began_at: start of the attempt that was refused. An attempt that began before the last refusal adds
-- nothing.
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
  'Pauses a provider for a number of seconds.';
