-- cancel_batch(p_batch_id, p_ids, p_waiting_only)
-- Cancel the waiting and running items among p_ids; with p_waiting_only, only waiting ones.
-- States: pending -> failed at once; processing stays, with a cancel request, until its worker has stopped it.
create function batchgen.cancel_batch(
  p_batch_id uuid, p_ids uuid[], p_waiting_only boolean
) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_ended uuid[];
begin
  perform batchgen.lock_batch(p_batch_id);
  v_ended := batchgen.cancel_items(array[p_batch_id], p_ids, p_waiting_only);
  return array(
    select row(g.id, g.batch_index, w.code not in ('already_completed', 'already_failed'), w.code,
      null)::batchgen.item_outcome
    from public.image_generations g
    left join batchgen.failures f on f.generation_id = g.id
    left join batchgen.queue q on q.generation_id = g.id
    cross join lateral (
      select case
        when g.id = any (v_ended) then 'cancelled'
        when g.status = 'completed' then 'already_completed'
        when g.status = 'failed' and f.code = 'cancelled' then 'already_cancelled'
        when g.status = 'failed' then 'already_failed'
        when p_waiting_only and q.cancel_requested is not true then 'left_running'
        else 'cancel_requested'
      end as code
    ) w
    where g.id = any (p_ids)
  );
end
$$;
revoke execute on function batchgen.cancel_batch(uuid, uuid[], boolean) from public, anon, authenticated, service_role;
comment on function batchgen.cancel_batch(uuid, uuid[], boolean) is 'Cancels waiting and running items of a batch.';

-- cancel_batch(p_batch_id, p_generation_ids, p_waiting_only)
-- Cancel the waiting and running items of a batch, or the named ones among them. p_waiting_only: running items, which
-- are paid for, go on.
-- Actions: cancelled (it waited), cancel_requested (it runs and its worker will stop it; an already finished picture is
-- kept), already_cancelled, left_running (with p_waiting_only). Refused: already_completed, already_failed.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- States: pending -> failed at once; processing stays until its worker has stopped it.
-- Errors: PT401, PT404; PT409 busy if another session is changing items; PT422 for too many ids.
create function public.cancel_batch(
  p_batch_id uuid, p_generation_ids uuid[] default null, p_waiting_only boolean default false
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('cancel', p_batch_id, p_generation_ids,
    jsonb_build_object('waiting_only', coalesce(p_waiting_only, false)))
$$;
revoke execute on function public.cancel_batch(uuid, uuid[], boolean) from public, anon, authenticated, service_role;
grant execute on function public.cancel_batch(uuid, uuid[], boolean) to authenticated, service_role;
comment on function public.cancel_batch(uuid, uuid[], boolean) is
  'Cancels the waiting and running items of a batch, all or the named ones; finished pictures stay.';
