-- claim_generations(p_worker, p_limit, p_lease_seconds)
-- Leases up to p_limit waiting items to a worker and returns them as batchgen.claimed_items has them. Highest priority
-- first; then a user's n-th running item waits for every other user's n-th; then first in, first out. Never more than
-- settings.max_parallel_per_user of one user or settings.max_parallel_global in all: running items are counted here,
-- under the lock, and nowhere kept. Items whose provider or model is not to be asked now are parked, and come back when
-- it is. An item that a dead worker had is claimed alone, and its worker gets nothing beside it.
-- Caller: service_role.
-- States: pending -> processing; failed where nobody can run the item (batchgen.flaw_of).
-- Locks: one claim at a time (advisory); rows that others hold are left out.
-- Errors: PT422 for an argument out of range, and outside READ COMMITTED.
--
-- Plans, here and in what this calls. They are generic, and without sequential scans: a session keeps its plans, and
-- may have made them while the queue was empty. Without JIT, which such plans' guessed costs would start: compiling
-- takes longer than a hundred claims. Without sorts, so that the ready rows are read in order from their index and not
-- all of them: the planner expects one row.
create function public.claim_generations(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  generation_id uuid, lease_id uuid, lease_expires_at timestamptz, attempt integer, retry_count integer, user_id uuid,
  batch_id uuid, batch_index integer, prompt text, negative_prompt text, seed bigint, model text, model_version text,
  width integer, height integer, steps integer, guidance_scale double precision, provider text, provider_job_id text,
  model_provider text, input_spec jsonb, estimated_seconds double precision, order_key uuid, ordered_inputs jsonb,
  ordered_seconds_ago double precision, is_late boolean
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
  'For workers: leases waiting generations, fairly and within the limits.';

-- check_claim(p_worker, p_limit, p_lease_seconds)
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
-- Caller: claim_generations. States in the queue: delayed -> waiting, where the time has come. Locks: skips rows that
-- others hold.
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
comment on function batchgen.promote_delayed_items() is 'For the claim: items whose time has come wait for a slot.';

-- mark_as_processing(p_ids)
-- Caller: claim_generations, for items that batchgen.start_items has leased.
-- States: pending -> processing; by the trigger their batches, too.
create function batchgen.mark_as_processing(p_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  update public.image_generations g
  set status = 'processing', error_message = null, error_code = null, completed_at = null,
    started_at = clock_timestamp(),
    seed = coalesce(g.seed, floor(random() * 2147483648)::bigint),
    -- Of an item without an owner its batch's (start_items takes no other).
    user_id = coalesce(g.user_id, (select b.user_id from public.batch_generations b where b.id = g.batch_id))
  where g.id = any (p_ids);
end
$$;
revoke execute on function batchgen.mark_as_processing(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.mark_as_processing(uuid[]) is 'For the claim: leased items are processing.';

-- claim_generations_as_json(p_worker, p_limit, p_lease_seconds, p_about)
-- claim_generations as {claims: [{generation_id, lease_id, …}]}, one JSON value: PostgREST's max-rows cuts rows off
-- without a word, and a lease that is cut off is held by nobody. p_about: {version, providers} of the worker, for
-- get_workers. claim_generations notes the worker; it is noted once more only where it tells something new about
-- itself.
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
-- Leases ready items to a worker, as many as fit; returns their ids. Only the next few rows of a user are ranked. Where
-- a claim comes to the end of them it takes what surely goes first, ranks twice as many of those users, and goes on: a
-- high limit costs only those who use it. It goes on as well where somebody holds what it picked, so that a row that is
-- locked keeps no other one from its turn. Of a model in p_tried_ids one item is taken, to try it; none of
-- p_closed_ids.
-- Caller: claim_generations, alone under its lock, after a ranking.
-- States in the queue: waiting -> running.
-- Locks: queue rows, items and batches that nobody else holds.
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
      -- One is tried; the others of these models make way until it has ended.
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
-- room: how many items more may run, p_limit at most. held: how many the worker runs. cap: how many of one user may
-- run.
-- Caller: the claim, alone under its lock, after a ranking: whoever takes away the marks of a changed limit must know
-- the new one.
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
comment on function batchgen.free_slots(text, integer) is 'For the claim: how many items more may run.';

-- pick_ready(p_room, p_cap, p_closed_ids, p_left_out, p_probes)
-- ids: the items to start next, p_room at most, in the order of claims; none of the models p_closed_ids, none of
-- p_left_out, and no more of a user than p_cap with those that run or are in p_probes. used_up_users: those whose last
-- ranked row is among them, so that they have to be ranked further; null where there is none.
-- Caller: the claim, alone under its lock. Locks: the rows that it looks at, where nobody else holds them.
create function batchgen.pick_ready(
  p_room integer, p_cap integer, p_closed_ids uuid[], p_left_out uuid[], p_probes uuid[],
  out ids uuid[], out used_up_users uuid[]
)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
begin
  -- The rank already says that the user has room; counting once more makes the limit independent of any mark.
  -- Behind the last ranked row of a user there may be one that is due with the next rank: until that rank, the horizon,
  -- all is sure.
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
  'For the claim: the items to start next, in order.';

-- rank_ready_items(p_depth, p_closed_ids)
-- Brings up to date which rows a claim may take, p_depth of each user that was touched; items of closed models make
-- way.
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
comment on function batchgen.rank_ready_items(integer, uuid[]) is 'For the claim: which rows it may take.';

-- What a claim returns of each item of the queue: where and how to order its picture, and the order that an earlier
-- attempt has begun. Of an item with such an order: the order's own model, and not what the model's row has become
-- since. Whoever asks names the items. Not by their state: a plan would read all that run.
create view batchgen.claimed_items with (security_invoker = on) as
select g.id as generation_id, q.lease_id, q.lease_expires_at,
  least(r.retries, 1000000) + least(q.crash_count, 1000000) + 1 as attempt, r.retries as retry_count, g.user_id,
  g.batch_id, coalesce(g.batch_index, 0) as batch_index, g.prompt, g.negative_prompt, g.seed,
  case when o.key is null then coalesce(p.provider_model, left(m.replicate_id, 500), left(g.model, 500))
    else o.provider_model end as model,
  case when o.key is null then coalesce(nullif(b.model_version, ''), p.provider_version)
    else o.provider_version end as model_version,
  coalesce(g.width, m.default_width, 1024) as width, coalesce(g.height, m.default_height, 1024) as height,
  coalesce(g.steps, m.default_steps) as steps, g.guidance_scale::double precision as guidance_scale,
  coalesce(q.provider, o.provider) as provider, q.provider_job_id, coalesce(p.provider, 'offline') as model_provider,
  p.inputs as input_spec,
  coalesce(p.estimated_seconds, least(greatest(m.estimated_time_seconds, 0), 86400)::double precision)
    as estimated_seconds,
  o.key as order_key, o.inputs as ordered_inputs,
  extract(epoch from clock_timestamp() - o.ordered_at)::double precision as ordered_seconds_ago,
  coalesce(o.is_late, false) as is_late
from public.image_generations g
join batchgen.queue q on q.generation_id = g.id
left join public.batch_generations b on b.id = g.batch_id
left join public.models m on m.id = g.model_id
left join batchgen.model_providers p on p.model_id = g.model_id
left join batchgen.orders o on o.key = q.order_key
cross join lateral (select greatest(coalesce(g.retry_count, 0), 0) as retries) r
-- The order of claims. Sorted here, so that who reads the view needs no second look at the queue for it.
order by q.priority desc, q.created_at, q.batch_index, q.generation_id;
revoke all on batchgen.claimed_items from public, anon, authenticated, service_role;
comment on view batchgen.claimed_items is 'Items of the queue, as claim_generations returns them.';
comment on column batchgen.claimed_items.generation_id is 'The item.';
comment on column batchgen.claimed_items.lease_id is 'The lease: every write of the worker names it.';
comment on column batchgen.claimed_items.lease_expires_at is 'When the lease ends unless it is renewed.';
comment on column batchgen.claimed_items.attempt is 'Which attempt this is, from 1; crashes count.';
comment on column batchgen.claimed_items.retry_count is 'How many attempts failed and were tried again.';
comment on column batchgen.claimed_items.user_id is 'Whose item it is.';
comment on column batchgen.claimed_items.batch_id is 'Its batch; empty where that was deleted.';
comment on column batchgen.claimed_items.batch_index is 'Place of the item in its batch, from 0.';
comment on column batchgen.claimed_items.prompt is 'What the picture should show.';
comment on column batchgen.claimed_items.negative_prompt is 'What it should not show.';
comment on column batchgen.claimed_items.seed is 'What chance begins from.';
comment on column batchgen.claimed_items.model is 'The model''s id at its provider.';
comment on column batchgen.claimed_items.model_version is 'Its version there; empty means the official one.';
comment on column batchgen.claimed_items.width is 'Width in pixels.';
comment on column batchgen.claimed_items.height is 'Height in pixels.';
comment on column batchgen.claimed_items.steps is 'Steps of the model; empty means the provider''s default.';
comment on column batchgen.claimed_items.guidance_scale is 'How closely the picture follows the prompt.';
comment on column batchgen.claimed_items.provider is 'Where a job or an order was begun; empty where none was.';
comment on column batchgen.claimed_items.provider_job_id is 'The job there, to be resumed.';
comment on column batchgen.claimed_items.model_provider is 'The provider that makes the model.';
comment on column batchgen.claimed_items.input_spec is 'What the model takes (docs/models.md).';
comment on column batchgen.claimed_items.estimated_seconds is 'How long a picture usually takes.';
comment on column batchgen.claimed_items.order_key is 'The order that was begun for it; its outcome is not known.';
comment on column batchgen.claimed_items.ordered_inputs is 'What that order was about to send.';
comment on column batchgen.claimed_items.ordered_seconds_ago is 'How long ago that was.';
comment on column batchgen.claimed_items.is_late is 'Whether it runs again for the picture of that order alone.';

-- hold_lease(p_generation_id, p_lease_id)
-- Locks the item and returns its queue row, or raises PT409 where the lease is not held: another one has been minted,
-- the item has ended, or the lease is past its end, even if nobody has taken the item over yet.
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
-- For a worker that was given nothing: {due_in_seconds, delayed, paused, waiting, running, closed}.
-- due_in_seconds: until the first item may start that waits for its time, its provider or its model; null where none
-- does, and where nobody knows when. delayed, paused, waiting, running: how many items wait for their time, for a
-- provider or model that is not to be asked now, for room under a limit; and how many run. closed: which providers and
-- models those are, ten at most, with the code of the failure.
-- Caller: service_role.
create function public.queue_outlook() returns jsonb
language sql security definer set search_path = '' as $$
  with closed as materialized (
    select c.model_id, max(c.until) as until, min(coalesce(c.name, 'unknown')) as name
    from batchgen.closed_models() c group by c.model_id
  ),
  items as materialized (
    select q.state, q.model_id, c.model_id is not null as is_closed, greatest(q.due_at, c.until) as due_at,
      -- Of a model that an item tries just now nobody knows when the others may start.
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
comment on function public.queue_outlook() is 'For workers: what waits, and how soon something of it may start.';

-- release_generations(p_worker, p_lease_ids)
-- Hands items back: a planned shutdown. It costs no attempt, and a provider's job stays attached for the next worker to
-- resume. Returns one row per item handed back.
-- Caller: service_role.
-- States: processing -> pending, due at once; failed as cancelled where its owner asked for its end.
-- Locks: batches, items, queue rows.
-- Errors: PT409 where no lease was held.
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
comment on function public.release_generations(text, uuid[]) is 'For workers: hands leased items back, unharmed.';

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
-- Prolongs leases from now on. Returns one row per lease still held, with cancel_requested; one that is missing is
-- lost: stop and drop.
-- Caller: service_role.
-- Locks: queue rows that nobody else holds; the others are prolonged next time.
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
  -- Another call holds the row just now, for example one that attaches a job: not lost, and prolonged next time.
  select r.lease_id, r.lease_expires_at, r.cancel_requested from batchgen.queue r
  where r.lease_id = any (p_lease_ids) and r.worker = p_worker and r.lease_expires_at > clock_timestamp()
    and r.lease_id not in (select p.lease_id from prolonged p);
  perform batchgen.note_worker(p_worker, p_lease_seconds);
end
$$;
revoke execute on function public.renew_leases(text, uuid[], integer) from public, anon, authenticated, service_role;
grant execute on function public.renew_leases(text, uuid[], integer) to service_role;
comment on function public.renew_leases(text, uuid[], integer) is
  'For workers: prolongs leases; a lease that does not come back is lost.';

-- renew_leases_as_json(p_worker, p_lease_ids, p_lease_seconds)
-- renew_leases as {renewals: [{lease_id, lease_expires_at, cancel_requested}]}, one JSON value: PostgREST's max-rows
-- cuts rows off without a word, and a lease that is cut off looks lost.
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
-- Brings the ready ranks of all touched users up to date: their first waiting rows, p_depth of them and never more than
-- max_parallel_per_user - running, carry the rank running + 1, running + 2, …; all other rows none. A claim that takes
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
  -- Read after the marks: a changed limit touches its users, and whoever takes those away must know the new one.
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

  -- Each list is joined with the table alone, by its key: two lists would be compared row by row.
  with free as (
    select q.generation_id, c.rank
    from unnest(v_ids, v_ranks) as c (generation_id, rank) join batchgen.queue q using (generation_id)
    for no key update of q skip locked
  )
  update batchgen.queue q set ready_rank = free.rank from free
  where q.generation_id = free.generation_id and q.state = 'waiting';
  get diagnostics v_written = row_count;
  if v_written < cardinality(v_ids) then
    -- Somebody else holds some of these rows just now: look at their users again next time.
    insert into batchgen.touched (user_id) select unnest(v_users);
  end if;
end
$$;
revoke execute on function batchgen.repair_ready_ranks(integer) from public, anon, authenticated, service_role;
comment on function batchgen.repair_ready_ranks(integer) is
  'Brings up to date which rows a claim may take, for the users who were touched.';

-- return_expired_leases()
-- Takes back the items whose lease has ended: due again at once, to run alone; cancelled where that was asked for; or
-- failed as 'crashed' after settings.max_crashes while they ran alone. Returns how many.
-- Caller: service_role, and every claim.
-- Locks: skips what others hold, so it never waits.
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
  -- Their batch was deleted while they ran: there is none to lock.
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
      format('The worker stopped %s times while it made this picture.', v_max_crashes));
  end if;
  if v_expired is not null then
    perform batchgen.take_back(array(select unnest(v_expired) except select unnest(v_poison)), 0, true, false);
  end if;
  return coalesce(cardinality(v_expired), 0) + cardinality(v_cancelled) + cardinality(v_orphaned);
end
$$;
revoke execute on function public.return_expired_leases() from public, anon, authenticated, service_role;
grant execute on function public.return_expired_leases() to service_role;
comment on function public.return_expired_leases() is 'For workers: takes back items whose lease has ended.';

-- start_items(p_ids, p_worker, p_lease_seconds, p_is_busy)
-- waiting -> running for those of the items that nobody else holds; returns them. A start opens a pending batch: items
-- of one that somebody else holds just now are left for the next claim. Items that nobody can run end as failed, each
-- with its reason, and the others start.
-- Caller: the claim.
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
  -- One whose batch is held just now waits for the next claim.
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

-- Crash suspects. When a worker dies, nobody knows which of its items did it. So each item whose lease has expired is a
-- suspect, and is claimed alone: by a worker that holds nothing else, and that is given nothing else until the suspect
-- has ended or was handed back. Only a crash while an item ran alone is charged to it (settings.max_crashes).
--
-- Suspects and all other items take turns where both wait, so that neither keeps the other waiting for ever: two
-- suspects, then others for settings.suspect_turn_seconds, divided among the workers. A worker that is never without
-- items makes way for a suspect: it is given nothing until those that it holds have ended.

-- is_suspect_due(p_worker)
-- Whether the worker may serve a suspect while other items wait. Half of the workers do at most, and one in any case:
-- those that run one, and those that make way for one.
create function batchgen.is_suspect_due(p_worker text) returns boolean
language sql stable security definer set search_path = '' as $$
  select (select t.suspects_at from batchgen.turns t) <= clock_timestamp()
    and (select count(*) from batchgen.queue q where q.is_suspect and q.state = 'running')
      + (select count(*) from batchgen.workers w where w.worker <> p_worker and w.drains_until > clock_timestamp())
      < greatest(1, (select count(*) from batchgen.live_workers) / 2)
$$;
revoke execute on function batchgen.is_suspect_due(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_suspect_due(text) is 'Whether a worker may serve a suspect while other items wait.';

-- place_suspect(p_worker, p_is_busy, p_closed_ids, p_tried_ids)
-- What a claim does about suspects. suspect_id: the first one that may run, locked; empty where none may. is_its_turn:
-- the worker takes that one and nothing else. is_drained: the worker takes nothing at all, since it holds a suspect or
-- makes way for one. has_others: other items wait as well.
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
  -- Of models that are only tried, as in pick_probes, those that have ordered come first.
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
    -- Where others do not wait the worker comes to its end by itself. One that has not waited long may find an idle
    -- one.
    is_drained := p_is_busy and has_others
      and v_due_at <= clock_timestamp() - make_interval(secs => v_settings.suspect_turn_seconds);
  end if;
  -- Longer than the worker is silent: it asks again at each poll and whenever an item has ended.
  perform batchgen.drain_worker(p_worker, case when is_drained then v_settings.worker_silence_seconds else 0 end);
end
$$;
revoke execute on function batchgen.place_suspect(text, boolean, uuid[], uuid[])
from public, anon, authenticated, service_role;
comment on function batchgen.place_suspect(text, boolean, uuid[], uuid[]) is
  'For the claim: which suspect may run, and whether the worker takes it.';

-- note_turn(p_is_suspect)
-- A claim has taken a suspect, or others, while both waited.
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
  'For the claim: whose turn it is next where suspects and other items wait.';

-- claim_beside_suspects(p_worker, p_limit, p_lease_seconds, p_closed_ids, p_tried_ids)
-- claim_ready_items where there are suspects: the worker gets one of these alone, or others, or nothing while it makes
-- way for one. Returns the ids of what it got.
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
    -- Its turn, or that of others, all of which somebody holds just now.
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
  'For the claim: leases a suspect alone, or others.';

-- take_back(p_generation_ids, p_due_in_seconds, p_crashed, p_retried)
-- The one way from running to waiting. The caller holds the generations' row locks, and each id stands at most once.
-- p_due_in_seconds: 0 = due now. p_crashed: the lease expired. p_retried: a failed attempt that counts. An item whose
-- owner asked for its end does not wait again: it ends here as cancelled.
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
      -- An order that is over is not resumed; one that was only left is.
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
  'The one way from running back to waiting.';
