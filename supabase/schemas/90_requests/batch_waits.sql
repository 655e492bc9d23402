-- waits_of(p_batch_ids)
-- The reason why each pending item of these batches does not run: the first that holds, in the order listed at
-- public.batch_waits. Reveals nothing but numbers about other users. Reads at most 1,000 ready items.
-- rounds: number of times that the user's slots, or all slots, must become free before the item starts; null if there
-- is no place, or a place of 1000. since: start of the longest-running item among those in front of it.
-- Long because it is one query: all of its answer holds at one moment.
create function batchgen.waits_of(p_batch_ids uuid[])
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer, rounds integer, since timestamptz)
language plpgsql stable security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_settings batchgen.settings;
  v_running_in_all integer;
  v_since timestamptz;
  v_is_worker_live boolean;
begin
  if not exists (
    select from public.image_generations g join batchgen.queue q on q.generation_id = g.id
    where g.batch_id = any (p_batch_ids) and q.state <> 'running'
  ) then
    return;
  end if;
  v_is_worker_live := exists (select from batchgen.live_workers);
  select s.* into v_settings from batchgen.settings s;
  select count(*), min(q.started_at) into v_running_in_all, v_since from batchgen.queue q where q.state = 'running';
  return query
  with closed as materialized (
    -- Of two reasons the longer one; a running probe counts as the shorter one.
    select distinct on (c.model_id) c.* from batchgen.closed_models() c order by c.model_id, c.until desc nulls last
  ),
  items as materialized (
    select q.* from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    where g.batch_id = any (p_batch_ids) and q.state <> 'running'
  ),
  users as materialized (
    select u.user_id, r.running, r.since
    from (select distinct i.user_id from items i) u
    cross join lateral (
      select count(*)::integer as running, min(q.started_at) as since
      from batchgen.queue q where q.state = 'running' and q.user_id = u.user_id
    ) r
  ),
  -- Ranks of the items among their users' own, as the next claim will see them.
  own as materialized (
    select w.generation_id, u.user_id, w.priority, w.created_at, w.batch_index,
      row_number() over (
        partition by u.user_id order by w.priority desc, w.created_at, w.batch_index, w.generation_id
      ) as nth, u.running
    from users u cross join lateral (
      select q.generation_id, q.priority, q.created_at, q.batch_index from batchgen.queue q
      where q.state = 'waiting' and not q.is_suspect and q.user_id = u.user_id
        and q.model_id not in (select c.model_id from closed c)
      order by q.priority desc, q.created_at, q.batch_index, q.generation_id limit 1000
    ) w
  ),
  -- Items that may be claimed before them: of each user with ready items, and of those whose ranks the next claim
  -- repairs, as many as their limit allows. At most 50 per user are counted.
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
    cross join lateral (
      select count(*) as running from batchgen.queue q where q.state = 'running' and q.user_id = o.user_id
    ) r
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
    select o.generation_id, o.nth, least(1000, o.nth + (
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
      when 'breaker' then concat_ws(': ', left(coalesce(c.name, m.display_name), 200),
        (select b.message from batchgen.breakers b where b.model_id = i.model_id))
      when 'retry' then case when i.wait_count > 2 then format('%s, told to wait %s times', i.fault_code,
        i.wait_count) end
    end,
    case why.reason when 'retry' then i.due_at when 'provider' then c.until when 'breaker' then c.until end,
    case why.reason when 'own_cap' then u.running when 'total_cap' then v_running_in_all end,
    case why.reason
      when 'own_cap' then v_settings.max_parallel_per_user when 'total_cap' then v_settings.max_parallel_global
    end,
    case when why.reason in ('own_cap', 'total_cap', 'queue') then
      case when i.state = 'waiting' and not i.is_suspect then coalesce(p.place, 1000) end
    end,
    case when why.reason in ('own_cap', 'total_cap', 'queue') and p.place < 1000 then greatest(
      (u.running + p.nth - 1) / v_settings.max_parallel_per_user,
      (v_running_in_all + p.place - 1) / v_settings.max_parallel_global
    )::integer end,
    coalesce(u.since, v_since)
  from items i
  join users u on u.user_id = i.user_id
  left join closed c on c.model_id = i.model_id
  left join public.models m on m.id = i.model_id
  left join placed p on p.generation_id = i.generation_id
  cross join lateral (
    select case
      when i.state = 'delayed' and i.due_at > clock_timestamp() and (c.reason is null or i.due_at > c.until)
        then 'retry'
      when c.reason is not null then c.reason
      -- The breaker lets one item probe the model, which need not be this one.
      when exists (select from batchgen.breakers b where b.model_id = i.model_id and b.opened_until is not null)
        then 'breaker'
      when not v_is_worker_live
        and i.due_at <= clock_timestamp() - make_interval(secs => v_settings.worker_silence_seconds)
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
revoke execute on function batchgen.waits_of(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.waits_of(uuid[]) is 'The reasons why pending items of batches do not run yet.';

create function batchgen_api.waits_of_any_batch(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer)
language plpgsql stable security definer set search_path = '' as $$
begin
  return query
  select w.generation_id, w.reason, w.detail, w."until", w.running, w.cap, w."position"
  from batchgen.waits_of(array[p_batch_id]) w;
end
$$;
revoke execute on function batchgen_api.waits_of_any_batch(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.waits_of_any_batch(uuid) to service_role;
comment on function batchgen_api.waits_of_any_batch(uuid) is 'Behind public.batch_waits: for operators.';

create function batchgen_api.batch_waits(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer)
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from public.batch_generations b where b.id = p_batch_id and b.user_id = auth.uid()) then
    perform batchgen.refuse('batch_not_found', 'Batch not found, or it belongs to another user.', 'p_batch_id',
      'Use the id of one of your batches.', null, null, 'PT404');
  end if;
  return query select * from batchgen_api.waits_of_any_batch(p_batch_id);
end
$$;
revoke execute on function batchgen_api.batch_waits(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.batch_waits(uuid) to authenticated;
comment on function batchgen_api.batch_waits(uuid) is 'Behind public.batch_waits: for the batch''s owner.';

-- batch_waits(p_batch_id)
-- One row per pending item of the batch, with the reason why it does not run:
--   retry      an attempt failed, or the provider asked to wait: due at until; detail tells about repeated waits
--   provider   the provider (detail) asked all workers to wait until then
--   breaker    the model (detail) failed repeatedly: nothing starts before until, which is empty while a probe runs
--   no_worker  it has been due for settings.worker_silence_seconds, and no worker was seen for as long
--   own_cap    its user has reached the limit of running items (running of cap)
--   total_cap  the limit of all running items is reached (running of cap)
--   runs_alone a worker died while it ran the item: it waits for a worker that runs nothing else
--   queue      other items come first
-- position: place in claim order, from 1, for own_cap, total_cap and queue; 1000 means 1000 or more.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.batch_waits(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer)
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
comment on function public.batch_waits(uuid) is 'The reasons why pending items of a batch do not run yet.';
