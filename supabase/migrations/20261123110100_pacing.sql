-- count_provider_fault(p_item)
-- Count a provider fault of an item.
-- States: closed -> open at the settings.breaker_failures-th failed item; half open -> open if the probe failed.
-- Attempts that began before the breaker opened do not count.
create function batchgen.count_provider_fault(p_item batchgen.queue) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_breaker batchgen.breakers;
begin
  insert into batchgen.breakers (model_id) values (p_item.model_id) on conflict do nothing;
  select b.* into v_breaker from batchgen.breakers b where b.model_id = p_item.model_id for update;
  if not found or (v_breaker.opened_until is not null
    and v_breaker.probe_lease_id is distinct from p_item.lease_id) then
    return;
  end if;
  select s.* into v_settings from batchgen.settings s;
  if not p_item.generation_id = any (v_breaker.failed_generation_ids) then
    v_breaker.failed_generation_ids := (p_item.generation_id
      || v_breaker.failed_generation_ids)[:v_settings.breaker_failures];
  end if;
  if v_breaker.opened_until is not null
    or cardinality(v_breaker.failed_generation_ids) >= v_settings.breaker_failures then
    v_breaker.opened_until := clock_timestamp() + make_interval(secs => v_settings.breaker_open_seconds);
  end if;
  update batchgen.breakers b
  set failed_generation_ids = v_breaker.failed_generation_ids, opened_until = v_breaker.opened_until,
    probe_lease_id = null, updated_at = now()
  where b.model_id = p_item.model_id;
end
$$;
revoke execute on function batchgen.count_provider_fault(batchgen.queue) from public, anon, authenticated, service_role;
comment on function batchgen.count_provider_fault(batchgen.queue) is
  'Counts a provider fault of a model; the last one opens the breaker.';

-- close_model(p_model_id, p_seconds, p_reason, p_message)
-- Open a model's breaker for p_seconds, since its row or the account's access to it needs repair. p_message tells the
-- reason to callers who ask why an item waits.
create function batchgen.close_model(
  p_model_id uuid, p_seconds double precision, p_reason text, p_message text
) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.breakers as b (model_id, opened_until, reason, message)
  values (p_model_id, clock_timestamp() + make_interval(secs => p_seconds), left(p_reason, 100), left(p_message, 500))
  on conflict (model_id) do update
  set opened_until = greatest(b.opened_until, excluded.opened_until), reason = excluded.reason,
    message = excluded.message,
    probe_lease_id = null, updated_at = now()
$$;
revoke execute on function batchgen.close_model(uuid, double precision, text, text)
from public, anon, authenticated, service_role;
comment on function batchgen.close_model(uuid, double precision, text, text) is
  'Opens a model''s breaker at once: its row needs repair.';

-- close_breaker(p_model_id)
-- Close the breaker after a success. The next claim unparks the waiting items.
create function batchgen.close_breaker(p_model_id uuid) returns void
language sql security definer set search_path = '' as $$
  delete from batchgen.breakers b where b.model_id = p_model_id
$$;
revoke execute on function batchgen.close_breaker(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.close_breaker(uuid) is 'Closes a model''s breaker after a success.';

-- closed_models()
-- Models that may start nothing now, with the reason and the end of the pause (empty: a probe runs).
create function batchgen.closed_models() returns table (model_id uuid, reason text, name text, "until" timestamptz)
language sql security definer set search_path = '' as $$
  select m.id, 'provider', p.name, p.not_before
  from batchgen.providers p
  join (select id from public.models union all select '00000000-0000-0000-0000-000000000000') m
    on batchgen.provider_of(m.id) = p.name
  where p.not_before > clock_timestamp()
  union all
  select b.model_id, 'breaker', m.display_name, case when b.opened_until > clock_timestamp() then b.opened_until end
  from batchgen.breakers b left join public.models m on m.id = b.model_id
  where b.opened_until is not null and (
    b.opened_until > clock_timestamp()
    or exists (select from batchgen.queue q where q.lease_id = b.probe_lease_id
      and q.lease_expires_at > clock_timestamp())
  )
$$;
revoke execute on function batchgen.closed_models() from public, anon, authenticated, service_role;
comment on function batchgen.closed_models() is
  'Models that may start nothing now, with the reason and the end of the pause.';

-- closed_and_tried_models()
-- Models that may start nothing, and models that may start one item as a probe. A breaker that another session is
-- updating counts as closed to this claim.
-- Caller: the claim, alone under its lock.
create function batchgen.closed_and_tried_models(out closed_ids uuid[], out tried_ids uuid[])
language plpgsql security definer set search_path = '' as $$
declare
  v_half_open uuid[];
begin
  closed_ids := array(select distinct c.model_id from batchgen.closed_models() c);
  v_half_open := array(
    select b.model_id from batchgen.breakers b where b.opened_until is not null and b.model_id <> all (closed_ids)
  );
  tried_ids := array(
    select b.model_id from batchgen.breakers b where b.model_id = any (v_half_open)
      and b.opened_until <= clock_timestamp()
    for no key update skip locked
  );
  closed_ids := closed_ids || array(select id from unnest(v_half_open) id where id <> all (tried_ids));
end
$$;
revoke execute on function batchgen.closed_and_tried_models() from public, anon, authenticated, service_role;
comment on function batchgen.closed_and_tried_models() is
  'For the claim: models that may start nothing, and models that may start one probe.';

-- park(p_model_ids)
-- Park items of these models, of the users at the head of the ready set, so that their other items become ready. At
-- most 2,000 items in each of five rounds; this claim skips the rest, and the next one continues.
-- Caller: the claim, alone under its lock, after a repair of the ready ranks. States in the queue: waiting -> parked.
create function batchgen.park(p_model_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_users uuid[];
  v_ids uuid[];
begin
  for v_round in 1 .. 5 loop
    select array_agg(distinct h.user_id) into v_users
    from (
      select q.user_id, q.model_id from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank is not null
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
      limit 500
    ) h
    where h.model_id = any (p_model_ids);
    exit when v_users is null;
    v_ids := array(
      select w.generation_id
      from unnest(v_users) as u (user_id) cross join lateral (
        select q.generation_id from batchgen.queue q
        where q.state = 'waiting' and not q.is_suspect and q.user_id = u.user_id and q.model_id = any (p_model_ids)
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit 200
      ) w
      limit 2000
    );
    with free as (
      select q.generation_id from batchgen.queue q
      where q.generation_id = any (v_ids) and q.state = 'waiting' for no key update skip locked
    ),
    parked as (
      update batchgen.queue q set state = 'parked', ready_rank = null
      from free where q.generation_id = free.generation_id returning q.user_id
    )
    insert into batchgen.touched (user_id) select distinct p.user_id from parked p;
    exit when not found;
    perform batchgen.repair_ready_ranks();
  end loop;
end
$$;
revoke execute on function batchgen.park(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.park(uuid[]) is 'Parks items of models that may not run, to make way for others.';

-- unpark(p_closed_ids, p_tried_ids)
-- Unpark items of models that may run again, oldest first: up to 1,000 items of a model per claim, and 20 of a model
-- that is only probed.
-- Caller: the claim, alone under its lock; it skips locked rows. States in the queue: parked -> waiting.
create function batchgen.unpark(p_closed_ids uuid[], p_tried_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_model_id uuid;
  v_ids uuid[];
begin
  -- Jump from model to model along the index, however many of its items are parked.
  select q.model_id into v_model_id from batchgen.queue q where q.state = 'parked' order by q.model_id limit 1;
  while v_model_id is not null loop
    if v_model_id <> all (p_closed_ids) then
      v_ids := array(
        select q.generation_id from batchgen.queue q
        where q.state = 'parked' and q.model_id = v_model_id
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit case when v_model_id = any (p_tried_ids) then 20 else 1000 end
        for no key update skip locked
      ) || array(
        select q.generation_id from batchgen.queue q
        where q.state = 'parked' and q.order_key is not null and q.model_id = v_model_id
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit 20
        for no key update skip locked
      );
      with back as (
        update batchgen.queue q set state = 'waiting' where q.generation_id = any (v_ids) returning q.user_id
      )
      insert into batchgen.touched (user_id) select distinct b.user_id from back b;
    end if;
    select q.model_id into v_model_id from batchgen.queue q
    where q.state = 'parked' and q.model_id > v_model_id order by q.model_id limit 1;
  end loop;
end
$$;
revoke execute on function batchgen.unpark(uuid[], uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.unpark(uuid[], uuid[]) is 'Returns parked items of models that may run again to waiting.';

-- unpark_open_models()
-- Unpark items of all models that may run again. Returns closed_ids and tried_ids as closed_and_tried_models. Costs
-- next to nothing while no provider is paused and no breaker is open.
-- Caller: the claim, alone under its lock. States in the queue: parked -> waiting.
create function batchgen.unpark_open_models(out closed_ids uuid[], out tried_ids uuid[])
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  closed_ids := '{}';
  tried_ids := '{}';
  if exists (select from batchgen.providers p where p.not_before > clock_timestamp())
    or exists (select from batchgen.breakers b where b.opened_until is not null)
    or exists (select from batchgen.queue q where q.state = 'parked')
  then
    select c.closed_ids, c.tried_ids into closed_ids, tried_ids from batchgen.closed_and_tried_models() c;
    perform batchgen.unpark(closed_ids, tried_ids);
  end if;
end
$$;
revoke execute on function batchgen.unpark_open_models() from public, anon, authenticated, service_role;
comment on function batchgen.unpark_open_models() is
  'For the claim: returns parked items of models that may run again to waiting.';

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

-- pick_probes(p_model_ids, p_room, p_cap)
-- Lock one probe for each model to be tried: the first item of a user below the limit. Items that have ordered already
-- come first: asking for a job costs nothing, and a job that never ends may block a local provider.
create function batchgen.pick_probes(p_model_ids uuid[], p_room integer, p_cap integer) returns uuid[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_model_id uuid;
  v_id uuid;
  v_ids uuid[] := '{}';
begin
  foreach v_model_id in array p_model_ids loop
    exit when cardinality(v_ids) >= p_room;
    select q.generation_id into v_id
    from batchgen.queue q
    where q.state = 'waiting' and not q.is_suspect and q.order_key is not null and q.model_id = v_model_id
      and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
        + (select count(*) from batchgen.queue r where r.generation_id = any (v_ids) and r.user_id = q.user_id) < p_cap
    order by q.priority desc, q.created_at, q.batch_index, q.generation_id
    limit 1 for no key update skip locked;
    if v_id is null then
      select q.generation_id into v_id
      from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank <= p_cap and q.model_id = v_model_id
        and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
          + (select count(*) from batchgen.queue r where r.generation_id = any (v_ids) and r.user_id = q.user_id)
          < p_cap
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
      limit 1 for no key update skip locked;
    end if;
    if v_id is not null then
      v_ids := v_ids || v_id;
    end if;
  end loop;
  return v_ids;
end
$$;
revoke execute on function batchgen.pick_probes(uuid[], integer, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.pick_probes(uuid[], integer, integer) is
  'Picks one item as a probe for each model to be tried.';

-- note_probes(p_probes, p_started, p_model_ids)
-- Record the leases of started probes in their breakers; only of p_model_ids, if given.
-- Caller: the claim, which holds the breakers (closed_and_tried_models).
create function batchgen.note_probes(p_probes uuid[], p_started uuid[], p_model_ids uuid[] default null) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  update batchgen.breakers b set probe_lease_id = q.lease_id
  from batchgen.queue q
  where q.generation_id = any (p_probes) and q.generation_id = any (p_started) and b.model_id = q.model_id
    and (p_model_ids is null or b.model_id = any (p_model_ids));
end
$$;
revoke execute on function batchgen.note_probes(uuid[], uuid[], uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.note_probes(uuid[], uuid[], uuid[]) is
  'Records which leases probe a model: their success closes its breaker.';
