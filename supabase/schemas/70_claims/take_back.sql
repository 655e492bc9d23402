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
