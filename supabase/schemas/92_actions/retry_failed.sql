-- retry_failed(p_batch_id)
-- Queue the failed items of a batch again: all that may be retried or, if they exceed the limits or credits, none.
-- States: failed -> pending. Errors: PT429, PT402.
create function batchgen.retry_failed(p_batch_id uuid) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_retried uuid[];
begin
  perform batchgen.lock_batch(p_batch_id);
  v_retried := array(
    select g.id from public.image_generations g where g.batch_id = p_batch_id and batchgen.may_be_retried(g)
  );
  if v_retried <> '{}' then
    perform batchgen.requeue_items((select b.user_id from public.batch_generations b where b.id = p_batch_id),
      v_retried);
  end if;
  return array(
    select row(g.id, g.batch_index, w.code in ('requeued', 'already_waiting'), w.code, null)::batchgen.item_outcome
    from public.image_generations g
    left join batchgen.failures f on f.generation_id = g.id
    cross join lateral (
      select case
        when g.id = any (v_retried) then 'requeued'
        when g.status = 'completed' then 'already_completed'
        when g.status = 'failed' then f.code
        else 'already_waiting'
      end as code
    ) w
    where g.batch_id = p_batch_id
  );
end
$$;
revoke execute on function batchgen.retry_failed(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.retry_failed(uuid) is 'Queues the failed items of a batch again.';

-- retry_failed(p_batch_id)
-- Queue the failed items of a batch again.
-- Actions: requeued, already_waiting. Refused: cancelled, blocked_by_policy, outcome_unknown, already_completed.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- States: failed -> pending.
-- Errors: PT401, PT404; PT429 if they exceed a limit, PT402 if they cost more credits than the user has.
create function public.retry_failed(p_batch_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('retry', p_batch_id)
$$;
revoke execute on function public.retry_failed(uuid) from public, anon, authenticated, service_role;
grant execute on function public.retry_failed(uuid) to authenticated, service_role;
comment on function public.retry_failed(uuid) is
  'Runs the failed items of a batch again, within the limits for new items.';
