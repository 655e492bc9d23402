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
