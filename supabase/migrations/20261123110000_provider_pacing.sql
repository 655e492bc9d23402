-- When a provider or model is not to be asked. A provider that asks to wait (HTTP 429) is left alone by every worker; a
-- model whose items keep failing by the provider's fault is left alone by its breaker, then tried with one item at a
-- time. Items of such a model are parked: they keep their place and their attempts, and other models go on.
--
-- Locks. Who finishes an item takes the provider's and then the breaker's row, last of all. A claim takes breakers that
-- are free (SKIP LOCKED) and parks and unparks what is free. So nobody waits here for somebody who waits.

create table batchgen.model_providers (
  model_id uuid primary key references public.models (id) on delete cascade,
  provider text not null constraint provider_is_named check (provider <> '')
);
comment on table batchgen.model_providers is 'Which provider runs a model. A model without a row runs at the provider offline.';

create table batchgen.providers (
  name text primary key,
  not_before timestamptz not null constraint not_before_in_range
    check (not_before between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'),
  reason text,
  refusals integer not null default 1 constraint refusals_in_range check (refusals between 0 and 1000),
  updated_at timestamptz not null default now()
);
comment on table batchgen.providers is 'Providers that asked to wait. Delete a row to ask again at once.';
comment on column batchgen.providers.not_before is 'No worker asks before this time.';
comment on column batchgen.providers.refusals is
  'How often it refused since it last made a picture; what was on its way together counts once. Each one doubles the shortest pause.';
comment on column batchgen.providers.reason is 'The code of the last failure that asked for it.';

create table batchgen.breakers (
  model_id uuid primary key,
  failed_generation_ids uuid[] not null default '{}',
  opened_until timestamptz constraint opened_until_in_range
    check (opened_until between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'),
  probe_lease_id uuid,
  updated_at timestamptz not null default now(),
  constraint only_an_open_breaker_is_probed check (probe_lease_id is null or opened_until is not null)
);
comment on table batchgen.breakers is
  'Models whose last items failed by the provider''s fault; the first success deletes the row. Delete it to let all items run at once.';
comment on column batchgen.breakers.model_id is 'models.id; zeros for items that name no model.';
comment on column batchgen.breakers.failed_generation_ids is
  'The items that failed since the last success, each once: one item that always fails says nothing about its model.';
comment on column batchgen.breakers.opened_until is 'Empty: closed, faults are counted. Until this time nothing of the model starts; after it, one item at a time.';
comment on column batchgen.breakers.probe_lease_id is 'The lease of the item that tries whether the model works again.';

alter table batchgen.model_providers enable row level security;
alter table batchgen.providers enable row level security;
alter table batchgen.breakers enable row level security;
create policy "Nobody" on batchgen.model_providers for all to public using (false);
create policy "Nobody" on batchgen.providers for all to public using (false);
create policy "Nobody" on batchgen.breakers for all to public using (false);
revoke all on batchgen.model_providers, batchgen.providers, batchgen.breakers from public, anon, authenticated, service_role;

create function batchgen.provider_of(p_model_id uuid) returns text
language sql stable security definer set search_path = '' as $$
  select coalesce((select m.provider from batchgen.model_providers m where m.model_id = p_model_id), 'offline')
$$;
revoke execute on function batchgen.provider_of(uuid) from public, anon, authenticated, service_role;

-- batchgen.shortest_wait(p_times): in seconds, for what is told to wait for the n-th time in a row, whatever it is told: 1,
-- 2, 4, … 300. So no answer, a wait of 0 among them, makes a loop without a pause.
create function batchgen.shortest_wait(p_times integer) returns double precision
language sql immutable set search_path = '' as $$
  select least(300, 2 ^ least(greatest(p_times, 1) - 1, 20))::double precision
$$;
revoke execute on function batchgen.shortest_wait(integer) from public, anon, authenticated, service_role;
comment on function batchgen.shortest_wait(integer) is 'The shortest wait in seconds for what is told to wait for the n-th time in a row.';

-- batchgen.pause_provider(...): nobody asks the provider for so many seconds, or for the shortest wait that its refusals
-- make due; a longer pause that is known already stays. p_began_at: when the attempt began that it refused. An attempt
-- from before its last refusal says nothing new.
create function batchgen.pause_provider(p_name text, p_seconds double precision, p_reason text, p_began_at timestamptz) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.providers as p (name, not_before, reason, updated_at)
  values (
    left(p_name, 200), clock_timestamp() + make_interval(secs => greatest(batchgen.shortest_wait(1), least(p_seconds, 86400))),
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
revoke execute on function batchgen.pause_provider(text, double precision, text, timestamptz) from public, anon, authenticated, service_role;

-- batchgen.count_provider_fault(p_item)
-- closed -> open with the settings.breaker_failures-th item that failed; a failed probe: half open -> open again.
-- An attempt that began before the breaker opened adds nothing.
create function batchgen.count_provider_fault(p_item batchgen.queue) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_breaker batchgen.breakers;
begin
  insert into batchgen.breakers (model_id) values (p_item.model_id) on conflict do nothing;
  select b.* into v_breaker from batchgen.breakers b where b.model_id = p_item.model_id for update;
  if not found or (v_breaker.opened_until is not null and v_breaker.probe_lease_id is distinct from p_item.lease_id) then
    return;
  end if;
  select s.* into v_settings from batchgen.settings s;
  if not p_item.generation_id = any (v_breaker.failed_generation_ids) then
    v_breaker.failed_generation_ids := (p_item.generation_id || v_breaker.failed_generation_ids)[:v_settings.breaker_failures];
  end if;
  if v_breaker.opened_until is not null or cardinality(v_breaker.failed_generation_ids) >= v_settings.breaker_failures then
    v_breaker.opened_until := clock_timestamp() + make_interval(secs => v_settings.breaker_open_seconds);
  end if;
  update batchgen.breakers b
  set failed_generation_ids = v_breaker.failed_generation_ids, opened_until = v_breaker.opened_until, probe_lease_id = null,
    updated_at = now()
  where b.model_id = p_item.model_id;
end
$$;
revoke execute on function batchgen.count_provider_fault(batchgen.queue) from public, anon, authenticated, service_role;

-- batchgen.close_breaker(p_model_id): the provider answered as it should. The next claim unparks what waited for it.
create function batchgen.close_breaker(p_model_id uuid) returns void
language sql security definer set search_path = '' as $$
  delete from batchgen.breakers b where b.model_id = p_model_id
$$;
revoke execute on function batchgen.close_breaker(uuid) from public, anon, authenticated, service_role;

-- batchgen.closed_models(): the models of which nothing may start now, why, and until when (empty: a probe runs).
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
    or exists (select from batchgen.queue q where q.lease_id = b.probe_lease_id and q.lease_expires_at > clock_timestamp())
  )
$$;
revoke execute on function batchgen.closed_models() from public, anon, authenticated, service_role;

-- batchgen.closed_and_tried_models()
-- For the claim, alone under its lock: the models of which nothing may start, and those of which one item may, to try.
-- A breaker that somebody finishes with just now counts as closed to this claim.
create function batchgen.closed_and_tried_models(out closed_ids uuid[], out tried_ids uuid[])
language plpgsql security definer set search_path = '' as $$
declare
  v_half_open uuid[];
begin
  closed_ids := array(select distinct c.model_id from batchgen.closed_models() c);
  v_half_open := array(select b.model_id from batchgen.breakers b where b.opened_until is not null and b.model_id <> all (closed_ids));
  tried_ids := array(
    select b.model_id from batchgen.breakers b where b.model_id = any (v_half_open) and b.opened_until <= clock_timestamp()
    for no key update skip locked
  );
  closed_ids := closed_ids || array(select id from unnest(v_half_open) id where id <> all (tried_ids));
end
$$;
revoke execute on function batchgen.closed_and_tried_models() from public, anon, authenticated, service_role;

-- batchgen.unpark(p_closed_ids, p_tried_ids)
-- parked -> waiting, oldest first, for the models that may run again: a thousand items of a model in one claim, and a few
-- of one that is only tried. Caller: the claim, alone under its lock; it skips rows that others hold.
create function batchgen.unpark(p_closed_ids uuid[], p_tried_ids uuid[]) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_model_id uuid;
  v_ids uuid[];
begin
  -- From model to model along the index, however many of its items are parked.
  select q.model_id into v_model_id from batchgen.queue q where q.state = 'parked' order by q.model_id limit 1;
  while v_model_id is not null loop
    if v_model_id <> all (p_closed_ids) then
      v_ids := array(
        select q.generation_id from batchgen.queue q
        where q.state = 'parked' and q.model_id = v_model_id
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit case when v_model_id = any (p_tried_ids) then 20 else 1000 end
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

-- batchgen.park(p_model_ids)
-- waiting -> parked for items of these models, of the users at the head of the ready set: their other items come up.
-- At most 2,000 items in each of five rounds; the claim leaves out what is left, and the next one goes on.
-- Caller: the claim, alone under its lock, after a repair of the ready ranks.
create function batchgen.park(p_model_ids uuid[]) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
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

-- batchgen.pick_probes(...): for each model to be tried, its first ready item of a user with room, locked.
create function batchgen.pick_probes(p_model_ids uuid[], p_room integer, p_cap integer) returns uuid[]
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_model_id uuid;
  v_id uuid;
  v_ids uuid[] := '{}';
begin
  foreach v_model_id in array p_model_ids loop
    exit when cardinality(v_ids) >= p_room;
    select q.generation_id into v_id
    from batchgen.queue q
    where q.state = 'waiting' and q.ready_rank <= p_cap and q.model_id = v_model_id
      and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
        + (select count(*) from batchgen.queue r where r.generation_id = any (v_ids) and r.user_id = q.user_id) < p_cap
    order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
    limit 1 for no key update skip locked;
    if found then
      v_ids := v_ids || v_id;
    end if;
  end loop;
  return v_ids;
end
$$;
revoke execute on function batchgen.pick_probes(uuid[], integer, integer) from public, anon, authenticated, service_role;

-- batchgen_api.waits_of_any_batch(p_batch_id)
-- Why each item of a batch that is pending does not run: the first reason that holds, in the order in which they are
-- listed at public.batch_waits. Of other users it tells numbers alone. It looks at 1,000 ready items at most.
create function batchgen_api.waits_of_any_batch(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer, "position" integer)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_settings batchgen.settings;
  v_running_in_all integer;
begin
  select s.* into v_settings from batchgen.settings s;
  select count(*) into v_running_in_all from batchgen.queue q where q.state = 'running';
  return query
  with closed as materialized (
    -- Of two reasons the one that lasts longer; a probe that runs is the shorter one.
    select distinct on (c.model_id) c.* from batchgen.closed_models() c order by c.model_id, c.until desc nulls last
  ),
  items as materialized (
    select q.* from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    where g.batch_id = p_batch_id and q.state <> 'running'
  ),
  users as materialized (
    select u.user_id, (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = u.user_id)::integer as running
    from (select distinct i.user_id from items i) u
  ),
  -- Where the items stand among their users' own, as the next claim will see it.
  own as materialized (
    select w.generation_id, u.user_id, w.priority, w.created_at, w.batch_index,
      row_number() over (partition by u.user_id order by w.priority desc, w.created_at, w.batch_index, w.generation_id) as nth, u.running
    from users u cross join lateral (
      select q.generation_id, q.priority, q.created_at, q.batch_index from batchgen.queue q
      where q.state = 'waiting' and q.user_id = u.user_id and q.model_id not in (select c.model_id from closed c)
      order by q.priority desc, q.created_at, q.batch_index, q.generation_id limit 1000
    ) w
  ),
  -- What may be claimed before them: the ready set, and of the users that the next claim repairs what will be in it.
  stale as materialized (select distinct t.user_id from (select user_id from batchgen.touched limit 1000) t),
  ready as materialized (
    (
      select q.user_id, q.priority, q.ready_rank::bigint as rank, q.created_at, q.batch_index, q.generation_id
      from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank is not null
        and q.user_id not in (select s.user_id from stale s) and q.model_id not in (select c.model_id from closed c)
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id limit 1000
    )
    union all
    (
      select s.user_id, w.priority, r.running + w.nth, w.created_at, w.batch_index, w.generation_id
      from stale s
      cross join lateral (select count(*) as running from batchgen.queue q where q.state = 'running' and q.user_id = s.user_id) r
      cross join lateral (
        select h.*, row_number() over (order by h.priority desc, h.created_at, h.batch_index, h.generation_id) as nth
        from (
          select q.priority, q.created_at, q.batch_index, q.generation_id from batchgen.queue q
          where q.state = 'waiting' and q.user_id = s.user_id and q.model_id not in (select c.model_id from closed c)
          order by q.priority desc, q.created_at, q.batch_index, q.generation_id
          limit greatest(v_settings.max_parallel_per_user - r.running, 0)
        ) h
      ) w
      limit 1000
    )
  ),
  placed as materialized (
    select o.generation_id, least(1000, o.nth + (
      select count(*) from ready r
      where r.user_id <> o.user_id
        and (-r.priority, r.rank, r.created_at, r.batch_index, r.generation_id)
          < (-o.priority, o.running + o.nth, o.created_at, o.batch_index, o.generation_id)
    ))::integer as place
    from own o
  )
  select i.generation_id, why.reason,
    case why.reason when 'provider' then c.name when 'breaker' then coalesce(c.name, m.display_name) end,
    case why.reason when 'retry' then i.due_at when 'provider' then c.until when 'breaker' then c.until end,
    case why.reason when 'own_cap' then u.running when 'total_cap' then v_running_in_all end,
    case why.reason when 'own_cap' then v_settings.max_parallel_per_user when 'total_cap' then v_settings.max_parallel_global end,
    case when why.reason in ('own_cap', 'total_cap', 'queue') then case when i.state = 'waiting' then coalesce(p.place, 1000) end end
  from items i
  join users u on u.user_id = i.user_id
  left join closed c on c.model_id = i.model_id
  left join public.models m on m.id = i.model_id
  left join placed p on p.generation_id = i.generation_id
  cross join lateral (
    select case
      when i.state = 'delayed' and i.due_at > clock_timestamp() and (c.reason is null or i.due_at > c.until) then 'retry'
      when c.reason is not null then c.reason
      -- The breaker lets one item try, and it need not be this one.
      when exists (select from batchgen.breakers b where b.model_id = i.model_id and b.opened_until is not null) then 'breaker'
      when u.running >= v_settings.max_parallel_per_user then 'own_cap'
      when v_running_in_all >= v_settings.max_parallel_global then 'total_cap'
      else 'queue'
    end as reason
  ) why
  order by i.batch_index, i.generation_id;
end
$$;
revoke execute on function batchgen_api.waits_of_any_batch(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.waits_of_any_batch(uuid) to service_role;

create function batchgen_api.batch_waits(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer, "position" integer)
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'Nobody is signed in.', null, 'Sign in, then try again.', null, null, 'PT401');
  end if;
  if not exists (select from public.batch_generations b where b.id = p_batch_id and b.user_id = auth.uid()) then
    perform batchgen.refuse('batch_not_found', 'There is no such batch, or it is somebody else''s.', 'p_batch_id',
      'Use the id of a batch of yours.', null, null, 'PT404');
  end if;
  return query select * from batchgen_api.waits_of_any_batch(p_batch_id);
end
$$;
revoke execute on function batchgen_api.batch_waits(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.batch_waits(uuid) to authenticated;

-- batch_waits(p_batch_id): a row for each pending item of the batch, with the reason why it does not run:
--   retry      an attempt failed, or was told to wait: due again at until; detail says so where that goes on and on
--   provider   the provider (detail) asked everybody to wait until then
--   breaker    the model (detail) failed again and again: nothing starts until then; until is empty while one item tries
--   no_worker  it has been due for settings.worker_silence_seconds, and no worker was seen for as long
--   own_cap    its user runs as many items as one user may (running of cap)
--   total_cap  as many items run in all as may (running of cap)
--   runs_alone a worker died while it had the item: it waits for one that does nothing else
--   queue      others come first
-- position is its place in the order of claims, from 1, for own_cap, total_cap and queue; 1000 stands for that or more.
-- Caller: authenticated, for a batch of their own (PT404 otherwise); service_role, for any.
create function public.batch_waits(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer, "position" integer)
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.waits_of_any_batch(uuid)', 'execute') then
    return query select * from batchgen_api.waits_of_any_batch(p_batch_id);
  else
    return query select * from batchgen_api.batch_waits(p_batch_id);
  end if;
end
$$;
revoke execute on function public.batch_waits(uuid) from public, anon, authenticated, service_role;
grant execute on function public.batch_waits(uuid) to authenticated, service_role;
comment on function public.batch_waits(uuid) is 'Why the pending items of a batch do not run yet.';
