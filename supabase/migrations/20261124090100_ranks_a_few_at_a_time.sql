-- Ready ranks for the next few rows of a user instead of all that the user's limit allows: a finish changes the ranks of
-- a handful of rows, however high the limit is.

-- squawk-ignore ban-drop-function
drop function batchgen.repair_ready_ranks();

-- batchgen.repair_ready_ranks(p_depth)
-- Brings the ready ranks of all touched users up to date: their first waiting rows, p_depth of them and never more than
-- max_parallel_per_user - running, carry the rank running + 1, running + 2, …; all other rows none. A claim that takes
-- the last ranked row of a user asks for more. Caller: the claim, alone under its lock.
create function batchgen.repair_ready_ranks(p_depth integer default 2) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
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
    select u.user_id, (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = u.user_id)::integer as running
    from unnest(v_users) as u (user_id)
  ),
  wanted as materialized (
    select w.generation_id, w.ready_rank, room.running + w.nth as rank
    from room cross join lateral (
      select h.generation_id, h.ready_rank, (row_number() over (order by h.priority desc, h.created_at, h.batch_index, h.generation_id))::integer as nth
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

-- claim_generations(p_worker, p_limit, p_lease_seconds)
-- Leases up to p_limit waiting items: pending -> processing. Highest priority first; then a user's n-th running item
-- waits for every other user's n-th; then first in, first out. Never more than settings.max_parallel_per_user of one
-- user or settings.max_parallel_global in all: running items are counted here, under the lock, and nowhere kept.
-- Items whose provider or model is not to be asked now are parked, and come back when it is (provider_pacing.sql).
-- Only the next few rows of a user are ranked. Where a claim comes to the end of them it takes what surely goes first,
-- ranks twice as many of those users, and goes on: a high limit costs only those who use it. It goes on as well where
-- somebody holds what it picked, so that a row that is locked keeps no other one from its turn.
-- Caller: service_role. Locks: one claim at a time (advisory); rows that others hold are left out.
-- Plans are generic, and without sequential scans: a session keeps its plans, and may have made them while the queue was
-- empty. Without JIT, which such plans' guessed costs would start: compiling takes longer than a hundred claims. Without
-- sorts, so that the ready rows are read in order from their index and not all of them: the planner expects one row.
create or replace function public.claim_generations(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  generation_id uuid, lease_id uuid, lease_expires_at timestamptz, attempt integer, retry_count integer, user_id uuid,
  batch_id uuid, batch_index integer, prompt text, negative_prompt text, seed bigint, model text, model_version text,
  width integer, height integer, steps integer, guidance_scale double precision, provider text, provider_job_id text
)
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_settings batchgen.settings;
  v_room integer;
  v_depth integer := 2;
  v_ids uuid[];
  v_all uuid[] := '{}';
  v_batches uuid[];
  v_busy uuid[];
  v_used_up uuid[];
  v_picked uuid[];
  v_left_out uuid[] := '{}';
  v_goes_on boolean;
  v_is_paced boolean;
  v_closed uuid[] := '{}';
  v_tried uuid[] := '{}';
  v_probes uuid[] := '{}';
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 10000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 10000', 'Ask for as many items as there are free slots.');
  end if;
  if current_setting('transaction_isolation') <> 'read committed' then
    -- Each statement below must see what the claim before it committed.
    raise exception using errcode = 'PT422', message = 'claim_generations needs READ COMMITTED';
  end if;

  perform pg_advisory_xact_lock(hashtextextended('batchgen.claim', 0));
  perform public.return_expired_leases();

  -- Delayed items whose time has come wait from now on.
  with due as (
    select q.generation_id from batchgen.queue q
    where q.state = 'delayed' and q.due_at <= clock_timestamp() for no key update skip locked
  ),
  promoted as (
    update batchgen.queue q set state = 'waiting' from due where q.generation_id = due.generation_id returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct p.user_id from promoted p;

  select exists (select from batchgen.providers p where p.not_before > clock_timestamp())
    or exists (select from batchgen.breakers b where b.opened_until is not null)
    or exists (select from batchgen.queue q where q.state = 'parked')
  into v_is_paced;
  if v_is_paced then
    select c.closed_ids, c.tried_ids into v_closed, v_tried from batchgen.closed_and_tried_models() c;
    perform batchgen.unpark(v_closed, v_tried);
  end if;

  loop
    perform batchgen.repair_ready_ranks(v_depth);
    if v_closed <> '{}' then
      perform batchgen.park(v_closed);
    end if;
    select s.* into v_settings from batchgen.settings s;
    select least(p_limit - cardinality(v_all), v_settings.max_parallel_global - count(*))::integer into v_room
    from batchgen.queue q where q.state = 'running';
    exit when v_room <= 0;
    if v_tried <> '{}' then
      v_probes := batchgen.pick_probes(v_tried, v_room, v_settings.max_parallel_per_user);
    end if;

    -- The rank already says that the user has room; counting once more makes the limit independent of any mark.
    -- Behind the last ranked row of a user there may be one that is due with the next rank: until that rank all is sure.
    with ready as materialized (
      select q.generation_id, q.user_id, q.priority, q.ready_rank, q.created_at, q.batch_index
      from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank <= v_settings.max_parallel_per_user
        and q.model_id <> all (v_closed) and q.model_id <> all (v_tried) and q.generation_id <> all (v_left_out)
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
      limit v_room - cardinality(v_probes) for no key update skip locked
    ),
    seen as materialized (
      select r.generation_id, r.user_id, r.priority, r.ready_rank,
        row_number() over (partition by r.user_id order by r.priority desc, r.created_at, r.batch_index, r.generation_id)
          + (select count(*) from batchgen.queue o where o.state = 'running' and o.user_id = r.user_id)
          + (select count(*) from batchgen.queue o where o.generation_id = any (v_probes) and o.user_id = r.user_id) as nth,
        r.ready_rank < v_settings.max_parallel_per_user
          and r.ready_rank = (select max(o.ready_rank) from batchgen.queue o where o.ready_rank > 0 and o.user_id = r.user_id) as is_last
      from ready r
    ),
    horizon as materialized (
      select -s.priority as priority, s.ready_rank from seen s where s.is_last order by s.priority desc, s.ready_rank limit 1
    )
    select array_agg(s.generation_id), array_agg(distinct s.user_id) filter (where s.is_last) into v_ids, v_used_up
    from seen s left join horizon h on true
    where s.nth <= v_settings.max_parallel_per_user
      and (h.priority is null or (-s.priority, s.ready_rank) <= (h.priority, h.ready_rank));
    v_picked := v_ids || v_probes;
    v_ids := array(select g.id from public.image_generations g where g.id = any (v_picked) for no key update skip locked);
    -- A start opens a pending batch. One that somebody else holds just now is left for the next claim.
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
    v_picked := array(select id from unnest(v_picked) id where id <> all (v_ids));
    v_left_out := v_left_out || v_picked;
    v_goes_on := v_picked <> '{}' or v_used_up is not null or v_probes <> '{}';

    update batchgen.queue q
    set state = 'running', ready_rank = null, lease_id = gen_random_uuid(), worker = p_worker, started_at = clock_timestamp(),
      lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds), cancel_requested = false
    where q.generation_id = any (v_ids);
    if v_probes <> '{}' then
      update batchgen.breakers b set probe_lease_id = q.lease_id
      from batchgen.queue q
      where q.generation_id = any (v_probes) and q.generation_id = any (v_ids) and b.model_id = q.model_id;
      -- One is tried; the others of these models make way until it has ended.
      v_closed := v_closed || v_tried;
      v_tried := '{}';
      v_probes := '{}';
    end if;
    v_all := v_all || v_ids;
    exit when not v_goes_on;
    if v_used_up is not null then
      insert into batchgen.touched (user_id) select unnest(v_used_up);
      v_depth := least(v_depth * 2, 100000);
    end if;
  end loop;
  if v_all = '{}' then
    return;
  end if;

  update public.image_generations g
  set status = 'processing', error_message = null, completed_at = null,
    seed = coalesce(g.seed, floor(random() * 2147483648)::bigint)
  where g.id = any (v_all);

  return query
  select g.id, q.lease_id, q.lease_expires_at, coalesce(g.retry_count, 0) + q.crash_count + 1, coalesce(g.retry_count, 0),
    g.user_id, g.batch_id, coalesce(g.batch_index, 0), g.prompt, g.negative_prompt, g.seed, coalesce(m.replicate_id, g.model),
    nullif(b.model_version, ''), coalesce(g.width, m.default_width, 1024), coalesce(g.height, m.default_height, 1024),
    coalesce(g.steps, m.default_steps), g.guidance_scale::double precision, q.provider, q.provider_job_id
  from public.image_generations g
  join batchgen.queue q on q.generation_id = g.id
  left join public.batch_generations b on b.id = g.batch_id
  left join public.models m on m.id = g.model_id
  where g.id = any (v_all)
  order by q.priority desc, q.created_at, q.batch_index, q.generation_id;
end
$$;

-- batchgen_api.waits_of_any_batch(p_batch_id)
-- Why each item of a batch that is pending does not run: the first reason that holds, in the order in which they are
-- listed at public.batch_waits. Of other users it tells numbers alone. It looks at 1,000 ready items at most.
create or replace function batchgen_api.waits_of_any_batch(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer, "position" integer)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_settings batchgen.settings;
  v_running_in_all integer;
  v_is_worker_live boolean := exists (select from batchgen.live_workers);
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
      where q.state = 'waiting' and not q.is_suspect and q.user_id = u.user_id and q.model_id not in (select c.model_id from closed c)
      order by q.priority desc, q.created_at, q.batch_index, q.generation_id limit 1000
    ) w
  ),
  -- What may be claimed before them: of each user with ready items, and of those whose ranks the next claim repairs,
  -- as many as their limit allows. More than 50 of one user are not counted.
  others as materialized (
    select t.user_id from (select user_id from batchgen.touched limit 1000) t
    union
    select r.user_id
    from (
      select q.user_id from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank is not null
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id limit 1000
    ) r
  ),
  ready as materialized (
    select o.user_id, w.priority, r.running + w.nth as rank, w.created_at, w.batch_index, w.generation_id
    from others o
    cross join lateral (select count(*) as running from batchgen.queue q where q.state = 'running' and q.user_id = o.user_id) r
    cross join lateral (
      select h.*, row_number() over (order by h.priority desc, h.created_at, h.batch_index, h.generation_id) as nth
      from (
        select q.priority, q.created_at, q.batch_index, q.generation_id from batchgen.queue q
        where q.state = 'waiting' and not q.is_suspect and q.user_id = o.user_id
          and q.model_id not in (select c.model_id from closed c)
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit least(greatest(v_settings.max_parallel_per_user - r.running, 0), 50)
      ) h
    ) w
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
    case why.reason
      when 'provider' then c.name
      when 'breaker' then concat_ws(': ', left(coalesce(c.name, m.display_name), 200), (select b.message from batchgen.breakers b where b.model_id = i.model_id))
      when 'retry' then case when i.wait_count > 2 then format('%s, told to wait %s times', i.fault_code, i.wait_count) end
    end,
    case why.reason when 'retry' then i.due_at when 'provider' then c.until when 'breaker' then c.until end,
    case why.reason when 'own_cap' then u.running when 'total_cap' then v_running_in_all end,
    case why.reason when 'own_cap' then v_settings.max_parallel_per_user when 'total_cap' then v_settings.max_parallel_global end,
    case when why.reason in ('own_cap', 'total_cap', 'queue') then
      case when i.state = 'waiting' and not i.is_suspect then coalesce(p.place, 1000) end
    end
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
      when not v_is_worker_live and i.due_at <= clock_timestamp() - make_interval(secs => v_settings.worker_silence_seconds)
        then 'no_worker'
      when u.running >= v_settings.max_parallel_per_user then 'own_cap'
      when v_running_in_all >= v_settings.max_parallel_global then 'total_cap'
      when i.is_suspect then 'runs_alone'
      else 'queue'
    end as reason
  ) why
  order by i.batch_index, i.generation_id;
end
$$;
