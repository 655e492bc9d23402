-- after_generations_updated()
-- Keep the queue, the failures and the totals in step with changed items.
-- Caller: a trigger, once for each statement.
-- Locks: queue rows, then batches by id.
create function batchgen.after_generations_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_left uuid[];
  v_ended uuid[];
  v_running uuid[];
  v_set_back uuid[];
  v_entered uuid[];
  v_moved uuid[];
  v_started uuid[];
  v_counted uuid[];
begin
  select
    -- leave the queue: final, or no longer part of a batch
    array_agg(n.id) filter (where f.was_orphaned
      or (f.was_queued and not f.is_queued and not (f.is_orphaned and n.status = 'processing'))),
    -- the batch was deleted while they waited, or while they ran
    array_agg(n.id) filter (where f.is_orphaned and o.status = 'pending' and n.status = 'failed'),
    array_agg(n.id) filter (where f.is_orphaned and n.status = 'processing'),
    -- the batch was deleted earlier, and they would wait now
    array_agg(n.id) filter (where f.was_orphaned and n.status = 'pending'),
    -- enter the queue: pending again, or a final item set to processing by hand
    array_agg(n.id) filter (where f.is_queued and (
      (n.status = 'pending' and (not f.was_queued or o.status <> 'pending'))
      or (not f.was_queued and o.batch_id is not null)
    )),
    -- move within the queue
    array_agg(n.id) filter (where f.was_queued and f.is_queued
      and (o.user_id, o.priority, o.created_at, o.batch_index, o.model_id)
        is distinct from (n.user_id, n.priority, n.created_at, n.batch_index, n.model_id)),
    -- batches that start
    array_agg(n.batch_id) filter (where o.status = 'pending' and n.status = 'processing'),
    -- batches whose counts change
    array_agg(n.batch_id) filter (where f.is_counted) || array_agg(o.batch_id) filter (where f.is_counted)
  into v_left, v_ended, v_running, v_set_back, v_entered, v_moved, v_started, v_counted
  -- A full join is always a hash join. A session keeps the plan of its first call, and a plan for one row would use a
  -- nested loop.
  from old_rows o
  full join new_rows n using (id)
  cross join lateral (
    select o.batch_id is not null and coalesce(o.status, '') in ('pending', 'processing') as was_queued,
      n.batch_id is not null and coalesce(n.status, '') in ('pending', 'processing') as is_queued,
      -- The app's single generations match this, too: they have no queue row.
      o.batch_id is null and n.batch_id is null and o.status = 'processing'
        and n.status is distinct from 'processing' as was_orphaned
  ) q
  cross join lateral (
    select q.was_queued, q.is_queued, q.was_orphaned,
      o.batch_id is distinct from n.batch_id
      or (o.status is distinct from n.status and not (q.was_queued and q.is_queued)) as is_counted,
      q.was_queued and n.batch_id is null
      and not exists (select from public.batch_generations b where b.id = o.batch_id) as is_orphaned
  ) f
  where o.batch_id is not null or n.batch_id is not null or q.was_orphaned;

  if v_left is not null then
    perform batchgen.leave_queue(v_left);
  end if;
  if v_ended is not null then
    perform batchgen.note_failures(v_ended, 'cancelled');
  end if;
  if v_running is not null or v_set_back is not null then
    perform batchgen.cancel_orphaned(v_running, v_set_back);
  end if;
  if v_entered is not null then
    perform batchgen.enter_queue(v_entered);
  end if;
  if v_moved is not null then
    perform batchgen.move_in_queue(v_moved);
  end if;
  if v_started is not null then
    perform batchgen.open_batches(v_started);
  end if;
  if v_counted is not null then
    perform batchgen.refresh_batches(v_counted);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_generations_updated() from public, anon, authenticated, service_role;
comment on function batchgen.after_generations_updated() is
  'Trigger: keeps the queue and the totals in step with changed items.';

create trigger batchgen_after_update after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement
execute function batchgen.after_generations_updated();

-- Steps of after_generations_updated.

-- leave_queue(p_generation_ids)
-- Remove items from the queue.
-- Caller: after_generations_updated. States in the queue: any -> gone; triggers update the ledger and the outbox.
create function batchgen.leave_queue(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  with gone as (delete from batchgen.queue q where q.generation_id = any (p_generation_ids) returning q.user_id)
  insert into batchgen.touched (user_id) select distinct user_id from gone;
end
$$;
revoke execute on function batchgen.leave_queue(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.leave_queue(uuid[]) is 'Removes items from the queue.';

-- cancel_orphaned(p_running, p_set_back)
-- End items whose batch was deleted: those of p_running are processing, those of p_set_back would have to wait now.
-- Caller: after_generations_updated. States: items that a worker runs get a cancel request, and the worker ends them;
-- all others -> failed.
create function batchgen.cancel_orphaned(p_running uuid[], p_set_back uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_unattended uuid[] := array(select q.generation_id from batchgen.queue q where q.generation_id = any (p_set_back));
begin
  if p_running is not null then
    -- Their workers stop the jobs at the provider and end the items.
    update batchgen.queue q set cancel_requested = true where q.generation_id = any (p_running);
    v_unattended := v_unattended || array(
      select r.id from unnest(p_running) r (id)
      where not exists (select from batchgen.queue q where q.generation_id = r.id and q.state = 'running')
    );
  end if;
  if v_unattended <> '{}' then
    -- No worker would ever run or end these.
    perform batchgen.end_as_failed(v_unattended, 'cancelled', 'The batch was deleted.');
  end if;
end
$$;
revoke execute on function batchgen.cancel_orphaned(uuid[], uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.cancel_orphaned(uuid[], uuid[]) is
  'Ends items whose batch was deleted, or has their workers end them.';

-- enter_queue(p_generation_ids)
-- Put pending items into the queue.
-- Caller: after_generations_updated. States in the queue: none -> waiting, or delayed while a worker may be deleting
-- the item's files. A row that already waits was put there by a worker's function and keeps its due time. The lease of
-- one that still runs, whose item was set back by hand, ends here; its worker learns this at its next call.
create function batchgen.enter_queue(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_queued uuid[];
begin
  delete from batchgen.failures f where f.generation_id = any (p_generation_ids);
  perform batchgen.keep_files(p_generation_ids);
  with queued as (
    insert into batchgen.queue as q (
      generation_id, user_id, priority, created_at, batch_index, model_id, state, due_at, had_picture
    )
    select g.id, batchgen.owner_of(g.user_id, g.batch_id), batchgen.place_of(g.priority), coalesce(g.created_at, now()),
      coalesce(g.batch_index, 0), coalesce(g.model_id, '00000000-0000-0000-0000-000000000000'),
      case when d.until is null then 'waiting' else 'delayed' end::batchgen.queue_state, coalesce(d.until, now()),
      exists (select from batchgen.ledger l where l.generation_id = g.id and l.outcome = 'completed')
    from public.image_generations g cross join lateral batchgen.files_deleted_until(g.id) d (until)
    where g.id = any (p_generation_ids)
    on conflict (generation_id) do update
      set state = excluded.state, due_at = excluded.due_at, lease_id = null, lease_expires_at = null, worker = null,
        started_at = null, cancel_requested = false, ran_alone = false
      where q.state = 'running'
    returning q.generation_id, q.user_id
  ),
  touched as (insert into batchgen.touched (user_id) select distinct user_id from queued)
  select array_agg(generation_id) into v_queued from queued;
  if v_queued is not null and (select s.credits from batchgen.settings s) then
    perform batchgen.hold_credits(v_queued);
  end if;
end
$$;
revoke execute on function batchgen.enter_queue(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.enter_queue(uuid[]) is 'Puts pending items into the queue.';

-- move_in_queue(p_generation_ids)
-- Update the queue rows of items whose owner, priority, age, index or model has changed.
-- Caller: after_generations_updated.
-- States in the queue: parked -> waiting, so that the next claim checks whether the new model may run; all others stay.
create function batchgen.move_in_queue(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  with before as (
    select q.generation_id, q.user_id from batchgen.queue q where q.generation_id = any (p_generation_ids) for update
  ),
  moved as (
    update batchgen.queue q
    set user_id = batchgen.owner_of(g.user_id, g.batch_id), priority = batchgen.place_of(g.priority),
      created_at = coalesce(g.created_at, q.created_at), batch_index = coalesce(g.batch_index, 0),
      model_id = coalesce(g.model_id, '00000000-0000-0000-0000-000000000000'),
      state = case when q.state = 'parked' then 'waiting' else q.state end
    from public.image_generations g join before b on b.generation_id = g.id
    where q.generation_id = g.id
    returning q.user_id, b.user_id as user_before
  )
  insert into batchgen.touched (user_id)
  select user_id from moved union select user_before from moved;
end
$$;
revoke execute on function batchgen.move_in_queue(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.move_in_queue(uuid[]) is 'Updates the queue rows of changed items.';

-- open_batches(p_batch_ids)
-- Mark batches as processing once an item has started. A start changes no count.
-- Caller: after_generations_updated. States of the batch: pending -> processing. Locks: batches by id.
create function batchgen.open_batches(p_batch_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  perform 1 from public.batch_generations b
  where b.id = any (p_batch_ids) and b.status = 'pending' order by b.id for no key update;
  update public.batch_generations b set status = 'processing' where b.id = any (p_batch_ids) and b.status = 'pending';
end
$$;
revoke execute on function batchgen.open_batches(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.open_batches(uuid[]) is 'Marks batches with a started item as processing.';
