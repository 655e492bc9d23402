-- Cancelling, in one place for all who do it: the user functions, the app's direct writes, deleted batches.
--
-- Locks, as everywhere: batches by id, items, queue rows. Who holds items already and comes for their batch (an edit by
-- the app) takes the batch's other items only where they are free.

-- request_cancel(p_batch_ids)
-- Marks all that waits or runs of these batches. Whoever holds the mark's row keeps claims away from it, and an item
-- that is just being claimed is marked after that.
-- Caller: holds the batches' row locks, and calls end_cancelled before it commits.
create function batchgen.request_cancel(p_batch_ids uuid[]) returns void
language sql security definer set search_path = '' as $$
  update batchgen.queue q set cancel_requested = true
  from public.image_generations g
  where g.batch_id = any (p_batch_ids) and q.generation_id = g.id
$$;
revoke execute on function batchgen.request_cancel(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.request_cancel(uuid[]) is 'Marks what waits and runs of batches as cancelled.';

-- end_cancelled(p_batch_ids)
-- Ends the marked items that wait; those that run end when their worker has stopped them. Returns the ids of those that
-- ended here. An item that somebody edits just now is waited for, but not for long: who edits may wait for this batch.
-- Errors: PT409 busy where somebody holds an item for longer, and nothing is cancelled.
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
  perform batchgen.refuse('busy', 'Items of this batch are being changed just now.', null, 'Try again.', null, null,
    'PT409');
  return v_ended;
end
$$;
revoke execute on function batchgen.end_cancelled(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.end_cancelled(uuid[]) is 'Ends the marked items that wait.';

-- cancel_items(p_batch_ids)
-- Cancels whatever of these batches has not ended: what waits ends at once, what runs is marked. Returns the ids of the
-- items that ended here. Items that were running before there was a queue have no worker of ours: they end here, too.
create function batchgen.cancel_items(p_batch_ids uuid[]) returns uuid[]
language plpgsql security definer set search_path = '' as $$
declare
  v_abandoned uuid[];
begin
  perform 1 from public.batch_generations b where b.id = any (p_batch_ids) order by b.id for no key update;
  perform batchgen.request_cancel(p_batch_ids);
  v_abandoned := array(
    select g.id from public.image_generations g
    where g.batch_id = any (p_batch_ids) and g.status in ('pending', 'processing')
      and not exists (select from batchgen.queue q where q.generation_id = g.id)
    for no key update of g skip locked
  );
  if v_abandoned <> '{}' then
    perform batchgen.end_as_failed(v_abandoned, 'cancelled', 'Cancelled by user');
  end if;
  return v_abandoned || batchgen.end_cancelled(p_batch_ids);
end
$$;
revoke execute on function batchgen.cancel_items(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.cancel_items(uuid[]) is
  'Marks and ends what waits of batches; what runs is ended by its worker.';
