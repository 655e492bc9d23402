-- cancel_batch(p_batch_id)
-- Cancel the waiting and running items of a batch.
-- States: pending -> failed at once; processing stays, with a cancel request, until its worker has stopped it.
create function batchgen.cancel_batch(p_batch_id uuid) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_ended uuid[];
begin
  perform batchgen.lock_batch(p_batch_id);
  v_ended := batchgen.cancel_items(array[p_batch_id]);
  return array(
    select row(g.id, g.batch_index, w.code not in ('already_completed', 'already_failed'), w.code,
      null)::batchgen.item_outcome
    from public.image_generations g
    left join batchgen.failures f on f.generation_id = g.id
    cross join lateral (
      select case
        when g.id = any (v_ended) then 'cancelled'
        when g.status = 'completed' then 'already_completed'
        when g.status = 'failed' and f.code = 'cancelled' then 'already_cancelled'
        when g.status = 'failed' then 'already_failed'
        else 'cancel_requested'
      end as code
    ) w
    where g.batch_id = p_batch_id
  );
end
$$;
revoke execute on function batchgen.cancel_batch(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.cancel_batch(uuid) is 'Cancels the waiting and running items of a batch.';

-- cancel_batch(p_batch_id)
-- Cancel the waiting and running items of a batch.
-- Actions: cancelled (it waited), cancel_requested (it runs and its worker will stop it; an already finished picture is
-- kept), already_cancelled. Refused: already_completed, already_failed.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- States: pending -> failed at once; processing stays until its worker has stopped it.
-- Errors: PT401, PT404; PT409 busy if another session is changing items.
create function public.cancel_batch(p_batch_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('cancel', p_batch_id)
$$;
revoke execute on function public.cancel_batch(uuid) from public, anon, authenticated, service_role;
grant execute on function public.cancel_batch(uuid) to authenticated, service_role;
comment on function public.cancel_batch(uuid) is
  'Cancels the waiting and running items of a batch; finished pictures stay.';
