-- claim_generations(p_worker, p_limit, p_lease_seconds)
-- Lease up to p_limit waiting items to a worker and return them as rows of batchgen.claimed_items. Order: highest
-- priority first; then a user's n-th running item waits for every other user's n-th; then first in, first out. Never
-- more than settings.max_parallel_per_user of one user or settings.max_parallel_global in all: running items are
-- counted here, under the lock; no counter is kept. Items whose provider or model is paused are parked until the pause
-- ends. An item whose worker died is claimed alone, and its new worker gets nothing beside it.
-- Caller: service_role.
-- States: pending -> processing; failed if no worker can run the item (batchgen.flaw_of).
-- Locks: one claim at a time (advisory); rows locked by other sessions are skipped.
-- Errors: PT422 for an argument out of range, and outside READ COMMITTED.
--
-- Plan settings, here and in the functions called: generic plans without sequential scans, because a session keeps its
-- plans and may have made them while the queue was empty. No JIT, which the guessed costs of such plans would start:
-- compiling takes longer than a hundred claims. No sorts, so that ready rows are read in order from their index instead
-- of all being read and sorted: the planner expects one row.
create function public.claim_generations(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  generation_id uuid, lease_id uuid, lease_expires_at timestamptz, attempt integer, retry_count integer, user_id uuid,
  batch_id uuid, batch_index integer, prompt text, negative_prompt text, seed bigint, model text, model_version text,
  width integer, height integer, steps integer, guidance_scale double precision, provider text, provider_job_id text,
  model_provider text, input_spec jsonb, estimated_seconds double precision, order_key uuid, ordered_inputs jsonb,
  ordered_seconds_ago double precision, is_late boolean, had_picture boolean
)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_closed uuid[];
  v_tried uuid[];
  v_ids uuid[];
begin
  perform batchgen.check_claim(p_worker, p_limit, p_lease_seconds);
  perform pg_advisory_xact_lock(hashtextextended('batchgen.claim', 0));
  perform public.return_expired_leases();
  perform batchgen.promote_delayed_items();
  select m.closed_ids, m.tried_ids into v_closed, v_tried from batchgen.unpark_open_models() m;
  perform batchgen.rank_ready_items(2, v_closed);
  if exists (select from batchgen.queue q where q.is_suspect) then
    v_ids := batchgen.claim_beside_suspects(p_worker, p_limit, p_lease_seconds, v_closed, v_tried);
  else
    v_ids := batchgen.claim_ready_items(p_worker, p_limit, p_lease_seconds, v_closed, v_tried);
  end if;
  perform batchgen.note_worker(p_worker, p_lease_seconds);
  if v_ids = '{}' then
    return;
  end if;
  perform batchgen.mark_as_processing(v_ids);
  return query select c.* from batchgen.claimed_items c where c.generation_id = any (v_ids);
end
$$;
revoke execute on function public.claim_generations(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.claim_generations(text, integer, integer) to service_role;
comment on function public.claim_generations(text, integer, integer) is
  'For workers: leases waiting items, fairly and within the limits.';

-- check_claim(p_worker, p_limit, p_lease_seconds)
-- Check the arguments of a claim.
-- Caller: claim_generations. Errors: PT422.
create function batchgen.check_claim(p_worker text, p_limit integer, p_lease_seconds integer) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 10000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 10000',
      'Ask for as many items as there are free slots.');
  end if;
  if current_setting('transaction_isolation') <> 'read committed' then
    -- Each statement of a claim must see what the claim before it committed.
    raise exception using errcode = 'PT422', message = 'claim_generations needs READ COMMITTED';
  end if;
end
$$;
revoke execute on function batchgen.check_claim(text, integer, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.check_claim(text, integer, integer) is 'Checks the arguments of a claim.';

-- promote_delayed_items()
-- Make delayed items that are due wait for a slot.
-- Caller: claim_generations. States in the queue: delayed -> waiting. Locks: skips locked rows.
create function batchgen.promote_delayed_items() returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  with due as (
    select q.generation_id from batchgen.queue q
    where q.state = 'delayed' and q.due_at <= clock_timestamp() for no key update skip locked
  ),
  promoted as (
    update batchgen.queue q set state = 'waiting' from due where q.generation_id = due.generation_id returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct p.user_id from promoted p;
end
$$;
revoke execute on function batchgen.promote_delayed_items() from public, anon, authenticated, service_role;
comment on function batchgen.promote_delayed_items() is
  'For the claim: makes delayed items that are due wait for a slot.';

-- mark_as_processing(p_ids)
-- Mark items leased by batchgen.start_items as processing.
-- Caller: claim_generations.
-- States: pending -> processing; by trigger, their batches, too.
create function batchgen.mark_as_processing(p_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  update public.image_generations g
  set status = 'processing', error_message = null, error_code = null, completed_at = null,
    started_at = clock_timestamp(),
    seed = coalesce(g.seed, floor(random() * 2147483648)::bigint),
    -- An item without an owner gets its batch's (start_items takes no item with neither).
    user_id = coalesce(g.user_id, (select b.user_id from public.batch_generations b where b.id = g.batch_id))
  where g.id = any (p_ids);
end
$$;
revoke execute on function batchgen.mark_as_processing(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.mark_as_processing(uuid[]) is 'For the claim: marks leased items as processing.';

-- claim_generations_as_json(p_worker, p_limit, p_lease_seconds, p_about)
-- claim_generations as {claims: [{generation_id, lease_id, …}]}, one JSON value: PostgREST's max-rows silently cuts off
-- rows, and nobody would hold a lease that was cut off. p_about: {version, providers} of the worker, for get_workers.
-- claim_generations records the worker; this records it again only if p_about says something new.
-- Caller: service_role.
-- States, locks, errors: as claim_generations.
create function public.claim_generations_as_json(
  p_worker text, p_limit integer, p_lease_seconds integer, p_about jsonb default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_claims jsonb;
begin
  select coalesce(jsonb_agg(to_jsonb(c)), '[]') into v_claims
  from public.claim_generations(p_worker, p_limit, p_lease_seconds) c;
  if p_about is not null and exists (
    select from batchgen.workers w
    where w.worker = p_worker and (
      w.version is distinct from p_about ->> 'version' or to_jsonb(w.providers) is distinct from p_about -> 'providers'
    )
  ) then
    perform batchgen.note_worker(p_worker, p_lease_seconds, p_about);
  end if;
  return jsonb_build_object('claims', v_claims);
end
$$;
revoke execute on function public.claim_generations_as_json(text, integer, integer, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.claim_generations_as_json(text, integer, integer, jsonb) to service_role;
comment on function public.claim_generations_as_json(text, integer, integer, jsonb) is
  'For workers: claim_generations, as {claims: [{generation_id, lease_id, …}]}.';

-- claim_ready_items(p_worker, p_limit, p_lease_seconds, p_closed_ids, p_tried_ids)
-- Lease as many ready items to a worker as fit; return their ids. Only the next few rows of each user are ranked. When
-- a claim reaches the last of them, it takes the items whose turn is certain, ranks twice as many rows of those users
-- and goes on: only users with a high limit pay for it. It also goes on if another session has locked some of its
-- picks, so that a locked row does not cost other items their turn. Takes one item, as a probe, of each model in
-- p_tried_ids and none of p_closed_ids.
-- Caller: claim_generations, alone under its lock, after a ranking.
-- States in the queue: waiting -> running.
-- Locks: queue rows, items and batches that no other session holds.
create function batchgen.claim_ready_items(
  p_worker text, p_limit integer, p_lease_seconds integer, p_closed_ids uuid[], p_tried_ids uuid[]
) returns uuid[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
declare
  v_slots record;
  v_ready record;
  v_depth integer := 2;
  v_probes uuid[] := '{}';
  v_ids uuid[];
  v_not_started uuid[];
  v_left_out uuid[] := '{}';
  v_all uuid[] := '{}';
begin
  loop
    select s.* into v_slots from batchgen.free_slots(p_worker, p_limit - cardinality(v_all)) s;
    exit when v_slots.room <= 0;
    if p_tried_ids <> '{}' then
      v_probes := batchgen.pick_probes(p_tried_ids, v_slots.room, v_slots.cap);
    end if;
    select r.* into v_ready
    from batchgen.pick_ready(
      v_slots.room - cardinality(v_probes), v_slots.cap, p_closed_ids || p_tried_ids, v_left_out, v_probes
    ) r;
    v_ids := batchgen.start_items(v_ready.ids || v_probes, p_worker, p_lease_seconds, v_slots.held > 0);
    v_all := v_all || v_ids;
    v_not_started := array(select id from unnest(v_ready.ids || v_probes) id where id <> all (v_ids));
    exit when v_not_started = '{}' and v_ready.used_up_users is null and v_probes = '{}';

    v_left_out := v_left_out || v_not_started;
    if v_probes <> '{}' then
      perform batchgen.note_probes(v_probes, v_ids);
      -- The probe runs; the models' other items are left out until it has ended.
      p_closed_ids := p_closed_ids || p_tried_ids;
      p_tried_ids := '{}';
      v_probes := '{}';
    end if;
    if v_ready.used_up_users is not null then
      insert into batchgen.touched (user_id) select unnest(v_ready.used_up_users);
      v_depth := least(v_depth * 2, 100000);
    end if;
    perform batchgen.rank_ready_items(v_depth, p_closed_ids);
  end loop;
  return v_all;
end
$$;
revoke execute on function batchgen.claim_ready_items(text, integer, integer, uuid[], uuid[])
from public, anon, authenticated, service_role;
comment on function batchgen.claim_ready_items(text, integer, integer, uuid[], uuid[]) is
  'For the claim: leases ready items, as many as fit.';

-- free_slots(p_worker, p_limit)
-- room: number of further items that may run, p_limit at most. held: number of items that the worker runs. cap: limit
-- per user.
-- Caller: the claim, alone under its lock, after a ranking: the ranking consumes the marks of a changed limit, so the
-- limit must be read after it.
create function batchgen.free_slots(
  p_worker text, p_limit integer, out room integer, out held integer, out cap integer
)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_settings batchgen.settings;
begin
  select s.* into v_settings from batchgen.settings s;
  select least(p_limit, v_settings.max_parallel_global - count(*))::integer, count(*) filter (where q.worker = p_worker)
  into room, held from batchgen.queue q where q.state = 'running';
  cap := v_settings.max_parallel_per_user;
end
$$;
revoke execute on function batchgen.free_slots(text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.free_slots(text, integer) is 'For the claim: number of further items that may run.';

-- pick_ready(p_room, p_cap, p_closed_ids, p_left_out, p_probes)
-- ids: the next items to start, p_room at most, in claim order; none of the models p_closed_ids, none of p_left_out,
-- and at most p_cap per user, counting running items and p_probes. used_up_users: users whose last ranked row is among
-- them, so that more of their rows must be ranked; null if there are none.
-- Caller: the claim, alone under its lock. Locks: the rows that it reads, unless another session holds them.
create function batchgen.pick_ready(
  p_room integer, p_cap integer, p_closed_ids uuid[], p_left_out uuid[], p_probes uuid[],
  out ids uuid[], out used_up_users uuid[]
)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
begin
  -- The rank already says that the user has room; counting again makes the limit independent of ranks.
  -- After the last ranked row of a user, an unranked one may be next: only rows up to that rank, the horizon, are
  -- certain.
  with ready as materialized (
    select q.generation_id, q.user_id, q.priority, q.ready_rank, q.created_at, q.batch_index
    from batchgen.queue q
    where q.state = 'waiting' and q.ready_rank <= p_cap
      and q.model_id <> all (p_closed_ids) and q.generation_id <> all (p_left_out)
    order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
    limit p_room for no key update skip locked
  ),
  seen as materialized (
    select r.generation_id, r.user_id, r.priority, r.ready_rank,
      row_number() over (
        partition by r.user_id order by r.priority desc, r.created_at, r.batch_index, r.generation_id
      )
      + (select count(*) from batchgen.queue o where o.state = 'running' and o.user_id = r.user_id)
      + (select count(*) from batchgen.queue o where o.generation_id = any (p_probes) and o.user_id = r.user_id) as nth,
      r.ready_rank < p_cap and r.ready_rank = (
        select max(o.ready_rank) from batchgen.queue o where o.ready_rank > 0 and o.user_id = r.user_id
      ) as is_last
    from ready r
  ),
  horizon as materialized (
    select -s.priority as priority, s.ready_rank from seen s where s.is_last
    order by s.priority desc, s.ready_rank limit 1
  )
  select array_agg(s.generation_id), array_agg(distinct s.user_id) filter (where s.is_last) into ids, used_up_users
  from seen s left join horizon h on true
  where s.nth <= p_cap and (h.priority is null or (-s.priority, s.ready_rank) <= (h.priority, h.ready_rank));
end
$$;
revoke execute on function batchgen.pick_ready(integer, integer, uuid[], uuid[], uuid[])
from public, anon, authenticated, service_role;
comment on function batchgen.pick_ready(integer, integer, uuid[], uuid[], uuid[]) is
  'For the claim: the next items to start, in order.';

-- rank_ready_items(p_depth, p_closed_ids)
-- Update which rows a claim may take, p_depth per touched user, and park items of closed models.
-- Caller: the claim, alone under its lock.
create function batchgen.rank_ready_items(p_depth integer, p_closed_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.repair_ready_ranks(p_depth);
  if p_closed_ids <> '{}' then
    perform batchgen.park(p_closed_ids);
  end if;
end
$$;
revoke execute on function batchgen.rank_ready_items(integer, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.rank_ready_items(integer, uuid[]) is 'For the claim: updates which rows it may take.';

-- Items of the queue as a claim returns them: where and how to order the picture, and the order that an earlier attempt
-- has begun. With such an order, the model is the order's own, whatever the model's row says now. Select by item id,
-- not by state: the plan would read all running items.
create view batchgen.claimed_items with (security_invoker = on) as
select g.id as generation_id, q.lease_id, q.lease_expires_at,
  least(r.retries, 1000000) + least(q.crash_count, 1000000) + 1 as attempt, r.retries as retry_count, g.user_id,
  g.batch_id, coalesce(g.batch_index, 0) as batch_index, g.prompt, g.negative_prompt, g.seed,
  case when o.key is null then coalesce(p.provider_model, left(m.replicate_id, 500), left(g.model, 500))
    else o.provider_model end as model,
  case when o.key is null then coalesce(v.model_version, p.provider_version)
    else o.provider_version end as model_version,
  coalesce(g.width, m.default_width, 1024) as width, coalesce(g.height, m.default_height, 1024) as height,
  coalesce(g.steps, m.default_steps) as steps, g.guidance_scale::double precision as guidance_scale,
  coalesce(q.provider, o.provider) as provider, q.provider_job_id, coalesce(p.provider, 'offline') as model_provider,
  p.inputs as input_spec,
  coalesce(p.estimated_seconds, least(greatest(m.estimated_time_seconds, 0), 86400)::double precision)
    as estimated_seconds,
  o.key as order_key, o.inputs as ordered_inputs,
  extract(epoch from clock_timestamp() - o.ordered_at)::double precision as ordered_seconds_ago,
  coalesce(o.is_late, false) as is_late, q.had_picture
from public.image_generations g
join batchgen.queue q on q.generation_id = g.id
left join public.batch_generations b on b.id = g.batch_id
left join public.models m on m.id = g.model_id
left join batchgen.model_providers p on p.model_id = g.model_id
left join batchgen.orders o on o.key = q.order_key
cross join lateral (select greatest(coalesce(g.retry_count, 0), 0) as retries) r
-- The batch's version is one of the batch's model, which an edited item may have left.
cross join lateral (
  select case
    when g.model_id is null or coalesce(b.model_id, '') in ('', g.model_id::text, m.replicate_id, m.name)
      then nullif(b.model_version, '')
  end as model_version
) v
-- The order of claims. Sorted here, so that readers of the view need not read the queue again for it.
order by q.priority desc, q.created_at, q.batch_index, q.generation_id;
revoke all on batchgen.claimed_items from public, anon, authenticated, service_role;
comment on view batchgen.claimed_items is 'Items of the queue, as claim_generations returns them.';
comment on column batchgen.claimed_items.generation_id is 'The item.';
comment on column batchgen.claimed_items.lease_id is 'The lease; every write of the worker names it.';
comment on column batchgen.claimed_items.lease_expires_at is 'End of the lease unless renewed.';
comment on column batchgen.claimed_items.attempt is 'Number of the attempt, from 1; crashes count.';
comment on column batchgen.claimed_items.retry_count is 'Number of failed attempts that were retried.';
comment on column batchgen.claimed_items.user_id is 'Owner of the item.';
comment on column batchgen.claimed_items.batch_id is 'Batch of the item; empty if the batch was deleted.';
comment on column batchgen.claimed_items.batch_index is 'Position of the item in its batch, from 0.';
comment on column batchgen.claimed_items.prompt is 'Description of what the picture should show.';
comment on column batchgen.claimed_items.negative_prompt is 'Description of what the picture should not show.';
comment on column batchgen.claimed_items.seed is 'Seed of the random numbers.';
comment on column batchgen.claimed_items.model is 'The model''s id at its provider.';
comment on column batchgen.claimed_items.model_version is 'Version at the provider; empty means the official version.';
comment on column batchgen.claimed_items.width is 'Width in pixels.';
comment on column batchgen.claimed_items.height is 'Height in pixels.';
comment on column batchgen.claimed_items.steps is 'Number of inference steps; empty means the provider''s default.';
comment on column batchgen.claimed_items.guidance_scale is 'How closely the picture follows the prompt.';
comment on column batchgen.claimed_items.provider is 'Provider of an existing job or order; empty if there is none.';
comment on column batchgen.claimed_items.provider_job_id is 'The job at that provider, to be resumed.';
comment on column batchgen.claimed_items.model_provider is 'Provider that runs the model.';
comment on column batchgen.claimed_items.input_spec is 'Names and ranges of the model''s inputs (docs/models.md).';
comment on column batchgen.claimed_items.estimated_seconds is 'Usual time to make a picture, in seconds.';
comment on column batchgen.claimed_items.order_key is 'An earlier order of the item whose outcome is unknown.';
comment on column batchgen.claimed_items.ordered_inputs is 'Inputs that this order was about to send.';
comment on column batchgen.claimed_items.ordered_seconds_ago is 'Age of this order in seconds.';
comment on column batchgen.claimed_items.is_late is
  'True if the item runs again only to fetch the picture of this order.';
comment on column batchgen.claimed_items.had_picture is
  'True if the item was completed before: its new files need other names.';

-- hold_lease(p_generation_id, p_lease_id)
-- Lock the item and return its queue row.
-- Errors: PT409 if the lease is no longer held: another lease was minted, the item has ended, or the lease has expired,
-- even if no worker has taken over the item yet.
create function batchgen.hold_lease(p_generation_id uuid, p_lease_id uuid) returns batchgen.queue
language plpgsql security definer set search_path = '' as $$
declare
  v_item batchgen.queue;
begin
  perform batchgen.lock_items(array[p_generation_id]);
  select q.* into v_item from batchgen.queue q
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id
    and q.lease_expires_at > clock_timestamp() for update;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  return v_item;
end
$$;
revoke execute on function batchgen.hold_lease(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.hold_lease(uuid, uuid) is 'Locks a leased item, or raises PT409.';

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

-- release_generations(p_worker, p_lease_ids)
-- Hand items back, as in a planned shutdown. Costs no attempt; a provider's job stays attached for the next worker to
-- resume. Returns one row per item handed back.
-- Caller: service_role.
-- States: processing -> pending, due at once; failed as cancelled if its owner cancelled it.
-- Locks: batches, items, queue rows.
-- Errors: PT409 if none of the leases is held.
create function public.release_generations(p_worker text, p_lease_ids uuid[])
returns table (generation_id uuid, lease_id uuid)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_leases uuid[];
begin
  if coalesce(cardinality(p_lease_ids), 0) = 0 then
    return;
  end if;
  perform batchgen.lock_items(array(
    select q.generation_id from batchgen.queue q where q.lease_id = any (p_lease_ids) and q.worker = p_worker
  ));
  select array_agg(held.generation_id), array_agg(held.lease_id) into v_ids, v_leases
  from (
    select q.generation_id, q.lease_id from batchgen.queue q
    where q.lease_id = any (p_lease_ids) and q.worker = p_worker and q.lease_expires_at > clock_timestamp()
    order by q.generation_id for update
  ) held;
  if v_ids is null then
    perform batchgen.lease_lost(null, p_lease_ids[1]);
  end if;
  perform batchgen.take_back(v_ids, 0, false, false);
  return query select * from unnest(v_ids, v_leases);
end
$$;
revoke execute on function public.release_generations(text, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.release_generations(text, uuid[]) to service_role;
comment on function public.release_generations(text, uuid[]) is
  'For workers: hands leased items back without costing an attempt.';

-- release_generations_as_json(p_worker, p_lease_ids)
-- release_generations as {released: [{generation_id, lease_id}]}, one JSON value.
-- Caller: service_role.
-- Errors: as release_generations.
create function public.release_generations_as_json(p_worker text, p_lease_ids uuid[]) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('released', coalesce(jsonb_agg(to_jsonb(r)), '[]'))
  from public.release_generations(p_worker, p_lease_ids) r
$$;
revoke execute on function public.release_generations_as_json(text, uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.release_generations_as_json(text, uuid[]) to service_role;
comment on function public.release_generations_as_json(text, uuid[]) is
  'For workers: release_generations, as {released: [{generation_id, lease_id}]}.';

-- renew_leases(p_worker, p_lease_ids, p_lease_seconds)
-- Extend leases, counted from now. Returns one row per lease still held, with cancel_requested; a missing one is lost:
-- stop the item and drop the result.
-- Caller: service_role.
-- Locks: queue rows that no other session holds; the others are extended next time.
-- Errors: PT422 for an argument out of range.
create function public.renew_leases(p_worker text, p_lease_ids uuid[], p_lease_seconds integer)
returns table (lease_id uuid, lease_expires_at timestamptz, cancel_requested boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  return query
  with free as (
    select r.generation_id from batchgen.queue r
    where r.lease_id = any (p_lease_ids) and r.worker = p_worker and r.lease_expires_at > clock_timestamp()
    for no key update skip locked
  ),
  prolonged as (
    update batchgen.queue q
    set lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
    from free where q.generation_id = free.generation_id
    returning q.lease_id, q.lease_expires_at, q.cancel_requested
  )
  select p.lease_id, p.lease_expires_at, p.cancel_requested from prolonged p
  union all
  -- Another call holds the row, for example one that attaches a job: not lost, and extended next time.
  select r.lease_id, r.lease_expires_at, r.cancel_requested from batchgen.queue r
  where r.lease_id = any (p_lease_ids) and r.worker = p_worker and r.lease_expires_at > clock_timestamp()
    and r.lease_id not in (select p.lease_id from prolonged p);
  perform batchgen.note_worker(p_worker, p_lease_seconds);
end
$$;
revoke execute on function public.renew_leases(text, uuid[], integer) from public, anon, authenticated, service_role;
grant execute on function public.renew_leases(text, uuid[], integer) to service_role;
comment on function public.renew_leases(text, uuid[], integer) is
  'For workers: extends leases; a lease that is not returned is lost.';

-- renew_leases_as_json(p_worker, p_lease_ids, p_lease_seconds)
-- renew_leases as {renewals: [{lease_id, lease_expires_at, cancel_requested}]}, one JSON value: PostgREST's max-rows
-- silently cuts off rows, and a lease that was cut off would look lost.
-- Caller: service_role.
-- Errors: as renew_leases.
create function public.renew_leases_as_json(p_worker text, p_lease_ids uuid[], p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('renewals', coalesce(jsonb_agg(to_jsonb(r)), '[]'))
  from public.renew_leases(p_worker, p_lease_ids, p_lease_seconds) r
$$;
revoke execute on function public.renew_leases_as_json(text, uuid[], integer)
from public, anon, authenticated, service_role;
grant execute on function public.renew_leases_as_json(text, uuid[], integer) to service_role;
comment on function public.renew_leases_as_json(text, uuid[], integer) is
  'For workers: renew_leases, as {renewals: [{lease_id, lease_expires_at, cancel_requested}]}.';

-- repair_ready_ranks(p_depth)
-- Update the ready ranks of all touched users: their first waiting rows, p_depth of them and never more than
-- max_parallel_per_user - running, get the ranks running + 1, running + 2, …; all other rows none. A claim that takes
-- the last ranked row of a user asks for more.
-- Caller: the claim, alone under its lock.
create function batchgen.repair_ready_ranks(p_depth integer default 2) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_users uuid[];
  v_cap integer;
  v_ids uuid[];
  v_ranks integer[];
  v_written integer;
begin
  with gone as (delete from batchgen.touched returning user_id)
  select array_agg(distinct user_id) into v_users from gone;
  if v_users is null then
    return;
  end if;
  -- Read after the marks were deleted: a changed limit marks its users, so the limit must be the new one.
  select s.max_parallel_per_user into v_cap from batchgen.settings s;

  with room as materialized (
    select u.user_id,
      (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = u.user_id)::integer as running
    from unnest(v_users) as u (user_id)
  ),
  wanted as materialized (
    select w.generation_id, w.ready_rank, room.running + w.nth as rank
    from room cross join lateral (
      select h.generation_id, h.ready_rank,
        (row_number() over (order by h.priority desc, h.created_at, h.batch_index, h.generation_id))::integer as nth
      from (
        select q.generation_id, q.ready_rank, q.priority, q.created_at, q.batch_index
        from batchgen.queue q where q.state = 'waiting' and not q.is_suspect and q.user_id = room.user_id
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit least(greatest(v_cap - room.running, 0), p_depth)
      ) h
    ) w
  ),
  unwanted as (
    select q.generation_id
    from room cross join lateral (
      select r.generation_id from batchgen.queue r where r.ready_rank > 0 and r.user_id = room.user_id offset 0
    ) q
    where q.generation_id not in (select generation_id from wanted)
  ),
  changed as (
    select generation_id, rank from wanted where ready_rank is distinct from rank
    union all
    select generation_id, null from unwanted
  )
  select array_agg(generation_id), array_agg(rank) into v_ids, v_ranks from changed;
  if v_ids is null then
    return;
  end if;

  -- Join each list only with the table, by its key: two lists would be compared row by row.
  with free as (
    select q.generation_id, c.rank
    from unnest(v_ids, v_ranks) as c (generation_id, rank) join batchgen.queue q using (generation_id)
    for no key update of q skip locked
  )
  update batchgen.queue q set ready_rank = free.rank from free
  where q.generation_id = free.generation_id and q.state = 'waiting';
  get diagnostics v_written = row_count;
  if v_written < cardinality(v_ids) then
    -- Another session holds some of these rows: repair their users again next time.
    insert into batchgen.touched (user_id) select unnest(v_users);
  end if;
end
$$;
revoke execute on function batchgen.repair_ready_ranks(integer) from public, anon, authenticated, service_role;
comment on function batchgen.repair_ready_ranks(integer) is 'Updates which rows a claim may take, for touched users.';

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

-- start_items(p_ids, p_worker, p_lease_seconds, p_is_busy)
-- Start those of the items that no other session holds; return them. A start opens a pending batch: if another session
-- holds the batch, its items are left for the next claim. Items that no worker can run fail, each with its reason, and
-- the others start.
-- Caller: the claim. States in the queue: waiting -> running.
create function batchgen.start_items(
  p_ids uuid[], p_worker text, p_lease_seconds integer, p_is_busy boolean
) returns uuid[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_ids uuid[] := array(
    select g.id from public.image_generations g where g.id = any (p_ids) for no key update skip locked
  );
  v_batches uuid[];
  v_busy uuid[];
  v_flawed record;
begin
  for v_flawed in
    select g.id, batchgen.flaw_of(g, b) as flaw
    from public.image_generations g join public.batch_generations b on b.id = g.batch_id
    where g.id = any (v_ids) and batchgen.flaw_of(g, b) is not null
    for no key update of b skip locked
  loop
    perform batchgen.end_as_failed(array[v_flawed.id], v_flawed.flaw ->> 'code', v_flawed.flaw ->> 'message');
  end loop;
  -- An item that cannot run but whose batch is locked is left for the next claim.
  v_ids := array(
    select g.id from public.image_generations g left join public.batch_generations b on b.id = g.batch_id
    where g.id = any (v_ids) and batchgen.flaw_of(g, b) is null
  );
  v_batches := array(select g.batch_id from public.image_generations g where g.id = any (v_ids));
  with opened as (
    select b.id from public.batch_generations b
    where b.id = any (v_batches) and b.status = 'pending' for no key update skip locked
  )
  select array_agg(b.id) into v_busy
  from public.batch_generations b
  where b.id = any (v_batches) and b.status = 'pending' and b.id not in (select o.id from opened o);
  if v_busy is not null then
    v_ids := array(select g.id from public.image_generations g where g.id = any (v_ids) and g.batch_id <> all (v_busy));
  end if;
  if v_ids = '{}' then
    return v_ids;
  end if;
  if p_is_busy then
    update batchgen.queue q set ran_alone = false where q.ran_alone and q.worker = p_worker;
  end if;
  update batchgen.queue q
  set state = 'running', ready_rank = null, lease_id = gen_random_uuid(), worker = p_worker,
    started_at = clock_timestamp(),
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds), cancel_requested = false,
    fault_code = null, order_over = null, ran_alone = not p_is_busy and cardinality(v_ids) = 1
  where q.generation_id = any (v_ids);
  return v_ids;
end
$$;
revoke execute on function batchgen.start_items(uuid[], text, integer, boolean)
from public, anon, authenticated, service_role;
comment on function batchgen.start_items(uuid[], text, integer, boolean) is
  'For the claim: leases the picked items to a worker.';

-- Crash suspects. When a worker dies, it is unknown which of its items caused it. So each item whose lease has expired
-- becomes a suspect and is claimed alone: by a worker that runs nothing else, and that gets nothing else until the
-- suspect has ended or is handed back. Only a crash while an item ran alone counts against it (settings.max_crashes).
--
-- Where suspects and other items wait, they take turns, so that neither waits for ever: two suspects, then others for
-- settings.suspect_turn_seconds divided by the number of workers. A worker that always has items drains for a suspect:
-- it gets nothing until its own items have ended.

-- is_suspect_due(p_worker)
-- True if the worker may serve a suspect while other items wait. At most half of the workers do, and at least one:
-- counting those that run a suspect and those that drain for one.
create function batchgen.is_suspect_due(p_worker text) returns boolean
language sql stable security definer set search_path = '' as $$
  select (select t.suspects_at from batchgen.turns t) <= clock_timestamp()
    and (select count(*) from batchgen.queue q where q.is_suspect and q.state = 'running')
      + (select count(*) from batchgen.workers w where w.worker <> p_worker and w.drains_until > clock_timestamp())
      < greatest(1, (select count(*) from batchgen.live_workers) / 2)
$$;
revoke execute on function batchgen.is_suspect_due(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_suspect_due(text) is 'True if a worker may serve a suspect while other items wait.';

-- place_suspect(p_worker, p_is_busy, p_closed_ids, p_tried_ids)
-- Decide about suspects in a claim. suspect_id: the first one that may run, locked; empty if none may. is_its_turn: the
-- worker takes that one and nothing else. is_drained: the worker takes nothing, because it runs a suspect or drains for
-- one. has_others: other items wait, too.
-- Caller: the claim, alone under its lock, after a repair of the ranks.
create function batchgen.place_suspect(
  p_worker text, p_is_busy boolean, p_closed_ids uuid[], p_tried_ids uuid[],
  out suspect_id uuid, out is_its_turn boolean, out is_drained boolean, out has_others boolean
)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_settings batchgen.settings;
  v_due_at timestamptz;
begin
  is_its_turn := false;
  is_drained := exists (
    select from batchgen.queue q where q.is_suspect and q.state = 'running' and q.worker = p_worker
  );
  if is_drained then
    return;
  end if;
  select s.* into v_settings from batchgen.settings s;
  -- As in pick_probes: of models that are only probed, items that have ordered come first.
  select q.generation_id, q.due_at into suspect_id, v_due_at
  from batchgen.queue q
  where q.is_suspect and q.state = 'waiting' and q.order_key is not null and q.model_id = any (p_tried_ids)
    and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
      < v_settings.max_parallel_per_user
  order by q.priority desc, q.created_at, q.batch_index, q.generation_id
  limit 1 for no key update skip locked;
  if suspect_id is null then
    select q.generation_id, q.due_at into suspect_id, v_due_at
    from batchgen.queue q
    where q.is_suspect and q.state = 'waiting' and q.model_id <> all (p_closed_ids)
      and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
        < v_settings.max_parallel_per_user
    order by q.priority desc, q.created_at, q.batch_index, q.generation_id
    limit 1 for no key update skip locked;
  end if;
  has_others := exists (
    select from batchgen.queue q where q.state = 'waiting' and q.ready_rank is not null
      and q.model_id <> all (p_closed_ids)
  );
  if suspect_id is not null and (not has_others or batchgen.is_suspect_due(p_worker)) then
    is_its_turn := not p_is_busy;
    -- If no others wait, the worker runs empty by itself. If the suspect has not waited long, an idle worker may still
    -- take it.
    is_drained := p_is_busy and has_others
      and v_due_at <= clock_timestamp() - make_interval(secs => v_settings.suspect_turn_seconds);
  end if;
  -- Longer than a worker is silent: it claims again at each poll and whenever an item ends.
  perform batchgen.drain_worker(p_worker, case when is_drained then v_settings.worker_silence_seconds else 0 end);
end
$$;
revoke execute on function batchgen.place_suspect(text, boolean, uuid[], uuid[])
from public, anon, authenticated, service_role;
comment on function batchgen.place_suspect(text, boolean, uuid[], uuid[]) is
  'For the claim: which suspect may run, and whether this worker takes it.';

-- note_turn(p_is_suspect)
-- Record that a claim took a suspect, or other items, while both waited.
create function batchgen.note_turn(p_is_suspect boolean) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_is_suspect then
    update batchgen.turns t
    set suspects_in_a_row = (t.suspects_in_a_row + 1) % 2, suspects_at = case when t.suspects_in_a_row > 0
      then 'infinity' else t.suspects_at end;
  else
    update batchgen.turns t
    set suspects_at = clock_timestamp() + make_interval(
      secs => s.suspect_turn_seconds / greatest(1, (select count(*) from batchgen.live_workers))
    )
    from batchgen.settings s where t.suspects_at = 'infinity';
  end if;
end
$$;
revoke execute on function batchgen.note_turn(boolean) from public, anon, authenticated, service_role;
comment on function batchgen.note_turn(boolean) is
  'For the claim: records whose turn is next between suspects and other items.';

-- claim_beside_suspects(p_worker, p_limit, p_lease_seconds, p_closed_ids, p_tried_ids)
-- claim_ready_items if there are suspects: the worker gets one suspect alone, or other items, or nothing while it
-- drains for a suspect. Returns the ids of the items it got.
-- Caller: claim_generations, alone under its lock, after a ranking.
-- States and locks: as claim_ready_items.
create function batchgen.claim_beside_suspects(
  p_worker text, p_limit integer, p_lease_seconds integer, p_closed_ids uuid[], p_tried_ids uuid[]
) returns uuid[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
declare
  v_slots record;
  v_place record;
  v_ids uuid[] := '{}';
begin
  select s.* into v_slots from batchgen.free_slots(p_worker, p_limit) s;
  if v_slots.room <= 0 then
    return v_ids;
  end if;
  select p.* into v_place from batchgen.place_suspect(p_worker, v_slots.held > 0, p_closed_ids, p_tried_ids) p;
  if not (v_place.is_its_turn or v_place.is_drained) then
    v_ids := batchgen.claim_ready_items(p_worker, p_limit, p_lease_seconds, p_closed_ids, p_tried_ids);
  end if;
  if v_place.suspect_id is not null and v_ids <> '{}' then
    perform batchgen.note_turn(false);
  elsif v_place.suspect_id is not null and v_slots.held = 0 and not v_place.is_drained then
    -- The suspect's turn; or the others' turn, but other sessions hold all of them.
    v_ids := batchgen.start_items(array[v_place.suspect_id], p_worker, p_lease_seconds, false);
    perform batchgen.note_probes(v_ids, v_ids, p_tried_ids);
    if v_place.has_others and v_place.is_its_turn and v_ids <> '{}' then
      perform batchgen.note_turn(true);
    end if;
  end if;
  return v_ids;
end
$$;
revoke execute on function batchgen.claim_beside_suspects(text, integer, integer, uuid[], uuid[])
from public, anon, authenticated, service_role;
comment on function batchgen.claim_beside_suspects(text, integer, integer, uuid[], uuid[]) is
  'For the claim: leases one suspect alone, or other items.';

-- take_back(p_generation_ids, p_due_in_seconds, p_crashed, p_retried)
-- Return running items to waiting; every path from running to waiting goes through this. The caller holds the items'
-- row locks; ids are unique. p_due_in_seconds: 0 = due now. p_crashed: the lease expired. p_retried: a failed attempt
-- that counts. An item whose owner cancelled it does not wait again: it fails as cancelled.
create function batchgen.take_back(
  p_generation_ids uuid[], p_due_in_seconds double precision, p_crashed boolean, p_retried boolean
) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_cancelled uuid[] := array(
    select q.generation_id from batchgen.queue q where q.generation_id = any (p_generation_ids) and q.cancel_requested
  );
begin
  if v_cancelled <> '{}' then
    perform batchgen.end_as_failed(v_cancelled, 'cancelled', 'Cancelled by user');
  end if;
  with back as (
    update batchgen.queue q
    set state = case when p_due_in_seconds > 0 then 'delayed' else 'waiting' end::batchgen.queue_state,
      due_at = clock_timestamp() + make_interval(secs => p_due_in_seconds),
      lease_id = null, lease_expires_at = null, worker = null, started_at = null,
      crash_count = least(q.crash_count, 1000000) + p_crashed::integer,
      lone_crash_count = least(q.lone_crash_count, 1000000) + (p_crashed and q.ran_alone)::integer,
      -- A wait or a planned release proves nothing; an attempt that has ended does.
      is_suspect = p_crashed or (q.is_suspect and not p_retried),
      ran_alone = false,
      -- An order that is over is not resumed; one that may still run is.
      provider = case when q.order_over is not true then q.provider end,
      provider_job_id = case when q.order_over is not true then q.provider_job_id end,
      order_key = case when q.order_over is not true then q.order_key end
    where q.generation_id = any (p_generation_ids) and q.generation_id <> all (v_cancelled) and q.state = 'running'
    returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct user_id from back;
  update public.image_generations g
  set status = 'pending', retry_count = case
    when p_retried then least(greatest(coalesce(g.retry_count, 0), 0), 1000000) + 1 else coalesce(g.retry_count, 0)
  end
  where g.id = any (p_generation_ids) and g.id <> all (v_cancelled);
end
$$;
revoke execute on function batchgen.take_back(uuid[], double precision, boolean, boolean)
from public, anon, authenticated, service_role;
comment on function batchgen.take_back(uuid[], double precision, boolean, boolean) is
  'Returns running items to waiting.';
