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
