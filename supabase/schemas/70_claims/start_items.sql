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
