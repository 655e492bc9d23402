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
