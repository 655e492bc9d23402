-- Cancelling, shared by the user functions, the app's direct writes and deleted batches.
--
-- Locks, as everywhere: batches by id, items, queue rows. A session that holds items and then needs their batch (an
-- edit by the app) locks the batch's other items only if they are free.

-- request_cancel(p_batch_ids, p_ids, p_waiting_only)
-- Set the cancel request of the waiting and running items of these batches, or of those among p_ids; with
-- p_waiting_only, of waiting ones alone. The lock on the queue row keeps claims away from it; an item that is just
-- being claimed is marked after that, or left if only waiting ones are meant.
-- Caller: holds the batches' row locks, and calls end_cancelled before it commits.
create function batchgen.request_cancel(
  p_batch_ids uuid[], p_ids uuid[] default null, p_waiting_only boolean default false
) returns void
language sql security definer set search_path = '' as $$
  update batchgen.queue q set cancel_requested = true
  from public.image_generations g
  where g.batch_id = any (p_batch_ids) and q.generation_id = g.id and (p_ids is null or g.id = any (p_ids))
    and not (p_waiting_only and q.state = 'running')
$$;
revoke execute on function batchgen.request_cancel(uuid[], uuid[], boolean)
from public, anon, authenticated, service_role;
comment on function batchgen.request_cancel(uuid[], uuid[], boolean) is
  'Sets the cancel request of waiting and running items of batches.';

-- end_cancelled(p_batch_ids)
-- End the marked items that wait; running ones end when their worker has stopped them. Returns the ids of the items
-- ended here. Waits for an item that another session edits, but not long: that session may wait for this batch.
-- Errors: PT409 busy if a session holds an item for longer; then nothing is cancelled.
create function batchgen.end_cancelled(p_batch_ids uuid[]) returns uuid[]
language plpgsql security definer set search_path = '' as $$
declare
  v_free uuid[];
  v_ended uuid[] := '{}';
begin
  for v_try in 1 .. 100 loop
    v_free := array(
      select g.id from public.image_generations g join batchgen.queue q on q.generation_id = g.id
      where g.batch_id = any (p_batch_ids) and q.cancel_requested and q.state <> 'running'
      for no key update of g skip locked
    );
    if v_free <> '{}' then
      perform batchgen.end_as_failed(v_free, 'cancelled', 'Cancelled by user');
      v_ended := v_ended || v_free;
    end if;
    if not exists (
      select from public.image_generations g join batchgen.queue q on q.generation_id = g.id
      where g.batch_id = any (p_batch_ids) and q.cancel_requested and q.state <> 'running'
    ) then
      return v_ended;
    end if;
    perform pg_sleep(0.01);
  end loop;
  perform batchgen.refuse('busy', 'Items of this batch are being changed.', null, 'Try again.', null, null,
    'PT409');
  return v_ended;
end
$$;
revoke execute on function batchgen.end_cancelled(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.end_cancelled(uuid[]) is 'Ends the waiting items that have a cancel request.';

-- cancel_items(p_batch_ids, p_ids, p_waiting_only)
-- Cancel the items of these batches that have not ended, or those among p_ids: waiting ones end at once, running ones
-- are marked unless only waiting ones are meant. Returns the ids of the items ended here. Items that were running
-- before the queue existed have no worker: they end here, too.
create function batchgen.cancel_items(
  p_batch_ids uuid[], p_ids uuid[] default null, p_waiting_only boolean default false
) returns uuid[]
language plpgsql security definer set search_path = '' as $$
declare
  v_abandoned uuid[];
begin
  perform 1 from public.batch_generations b where b.id = any (p_batch_ids) order by b.id for no key update;
  perform batchgen.request_cancel(p_batch_ids, p_ids, p_waiting_only);
  v_abandoned := array(
    select g.id from public.image_generations g
    where g.batch_id = any (p_batch_ids) and (p_ids is null or g.id = any (p_ids))
      and (g.status = 'pending' or (g.status = 'processing' and not p_waiting_only))
      and not exists (select from batchgen.queue q where q.generation_id = g.id)
    for no key update of g skip locked
  );
  if v_abandoned <> '{}' then
    perform batchgen.end_as_failed(v_abandoned, 'cancelled', 'Cancelled by user');
  end if;
  return v_abandoned || batchgen.end_cancelled(p_batch_ids);
end
$$;
revoke execute on function batchgen.cancel_items(uuid[], uuid[], boolean)
from public, anon, authenticated, service_role;
comment on function batchgen.cancel_items(uuid[], uuid[], boolean) is
  'Cancels items of batches: ends waiting ones, marks running ones for their workers.';
