-- after_batch_reopened()
-- Record that an ended batch runs again, and take it out of the trash.
create function batchgen.after_batch_reopened() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.reopened_batches (batch_id) values (new.id)
  on conflict (batch_id) do update set reopened_at = excluded.reopened_at;
  delete from batchgen.trashed_batches t where t.batch_id = new.id;
  return null;
end
$$;
revoke execute on function batchgen.after_batch_reopened() from public, anon, authenticated, service_role;
comment on function batchgen.after_batch_reopened() is
  'Trigger: records that an ended batch runs again, and takes it out of the trash.';

-- after_generations_deleted()
-- Keep queue and totals in step with deleted items. The user of an item that outlived its batch is repaired, too.
create function batchgen.after_generations_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- The queue rows are deleted by their foreign key.
  insert into batchgen.touched (user_id)
  select distinct batchgen.owner_of(o.user_id, o.batch_id) from old_rows o
  where o.status = 'processing' or (o.batch_id is not null and o.status = 'pending');
  perform batchgen.refresh_batches(array(select distinct o.batch_id from old_rows o where o.batch_id is not null));
  return null;
end
$$;
revoke execute on function batchgen.after_generations_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_generations_deleted() is
  'Trigger: keeps the queue and the totals in step with deleted items.';

-- The triggers after_generations_inserted, _updated and _deleted keep queue and totals in step with image_generations,
-- no matter who writes it: the worker's functions, the app, or an admin in the dashboard. They run once per statement.

create function batchgen.after_generations_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_batch_ids uuid[];
begin
  select array_agg(distinct n.batch_id) into v_batch_ids from new_rows n where n.batch_id is not null;
  if v_batch_ids is null then
    return null;
  end if;
  with queued as (
    insert into batchgen.queue (generation_id, user_id, priority, created_at, batch_index, model_id)
    select n.id, batchgen.owner_of(n.user_id, n.batch_id), batchgen.place_of(n.priority),
      coalesce(n.created_at, now()), coalesce(n.batch_index, 0),
      coalesce(n.model_id, '00000000-0000-0000-0000-000000000000')
    from new_rows n where n.batch_id is not null and n.status = 'pending'
    returning user_id
  )
  insert into batchgen.touched (user_id) select distinct user_id from queued;
  if (select s.credits from batchgen.settings s) then
    perform batchgen.hold_credits(array(
      select n.id from new_rows n where n.batch_id is not null and n.status = 'pending'
    ));
  end if;
  perform batchgen.refresh_batches(v_batch_ids);
  return null;
end
$$;
revoke execute on function batchgen.after_generations_inserted() from public, anon, authenticated, service_role;
comment on function batchgen.after_generations_inserted() is 'Trigger: queues and counts new items of batches.';

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

-- before_item_leaves_batch()
-- End a waiting item in the same update in which its deleted batch releases it (the foreign key's SET NULL).
create function batchgen.before_item_leaves_batch() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from public.batch_generations b where b.id = old.batch_id) then
    new.status := 'failed';
    new.error_message := 'The batch was deleted.';
    new.error_code := 'cancelled';
    new.completed_at := clock_timestamp();
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_item_leaves_batch() from public, anon, authenticated, service_role;
comment on function batchgen.before_item_leaves_batch() is 'Trigger: ends a waiting item when its batch is deleted.';

-- end_as_failed(p_generation_ids, p_code, p_message)
-- Mark items as failed; all worker functions and triggers do so through this. The caller holds the items' row locks.
create function batchgen.end_as_failed(p_generation_ids uuid[], p_code text, p_message text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.failures (generation_id, code)
  select id, left(p_code, 100) from unnest(p_generation_ids) as id
  on conflict (generation_id) do update set code = excluded.code, failed_at = now();
  update public.image_generations g
  set status = 'failed', error_message = left(p_message, 2000), error_code = left(p_code, 100),
    completed_at = clock_timestamp()
  where g.id = any (p_generation_ids);
end
$$;
revoke execute on function batchgen.end_as_failed(uuid[], text, text) from public, anon, authenticated, service_role;
comment on function batchgen.end_as_failed(uuid[], text, text) is 'Marks items as failed, with code, message and time.';

create function batchgen.note_failures(p_generation_ids uuid[], p_code text) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.failures (generation_id, code)
  select id, p_code from unnest(p_generation_ids) as id
  on conflict (generation_id) do update set code = excluded.code, failed_at = now()
$$;
revoke execute on function batchgen.note_failures(uuid[], text) from public, anon, authenticated, service_role;
comment on function batchgen.note_failures(uuid[], text) is 'Records why items failed.';

-- is_never_retried(p_code)
-- True if retry_failed does not run an item with this error code again.
create function batchgen.is_never_retried(p_code text) returns boolean
language sql immutable set search_path = '' as $$
  -- outcome_unknown: the picture may have been paid for; an admin checks, and sets the item to pending or leaves it.
  select p_code in ('cancelled', 'blocked_by_policy', 'outcome_unknown')
$$;
revoke execute on function batchgen.is_never_retried(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_never_retried(text) is
  'True if retry_failed does not run an item with this error code again.';

-- before_item_status_updated()
-- Set error_code for an item that is failed by hand, and clear it for one that has not failed.
create function batchgen.before_item_status_updated() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.error_code := case
    when new.status = 'failed' and new.error_message = 'Cancelled by user' then 'cancelled'
    when new.status = 'failed' then 'failed'
  end;
  return new;
end
$$;
revoke execute on function batchgen.before_item_status_updated() from public, anon, authenticated, service_role;
comment on function batchgen.before_item_status_updated() is
  'Trigger: keeps error_code in step with a status set by hand.';

-- flaw_of(p_item, p_batch)
-- The reason why no worker can run an item, as {code, message}; null if it can run. create_batch refuses such items,
-- but an admin, another function or an old project may have written anything.
create function batchgen.flaw_of(p_item public.image_generations, p_batch public.batch_generations) returns jsonb
language sql immutable set search_path = '' as $$
  select case
    when coalesce(p_item.user_id, p_batch.user_id) is null
      then '{"code": "no_owner", "message": "Neither the item nor its batch has an owner."}'
    when p_item.prompt is null or batchgen.is_blank(p_item.prompt)
      then '{"code": "no_prompt", "message": "The prompt is empty."}'
    when length(p_item.prompt) > 100000 or length(p_item.negative_prompt) > 100000
      then '{"code": "prompt_too_long", "message": "The prompt is longer than 100000 characters."}'
    when p_item.guidance_scale not between -1000000 and 1000000
      then '{"code": "invalid_settings", "message": "guidance_scale is not a number between -1000000 and 1000000."}'
    when p_item.width not between 1 and 65536 or p_item.height not between 1 and 65536
      then '{"code": "invalid_settings", "message": "width and height are not between 1 and 65536 pixels."}'
    when p_item.steps not between 1 and 10000
      then '{"code": "invalid_settings", "message": "steps is not between 1 and 10000."}'
    when length(p_batch.model_version) > 500
      then '{"code": "invalid_settings", "message": "model_version is longer than 500 characters."}'
  end::jsonb
$$;
revoke execute on function batchgen.flaw_of(public.image_generations, public.batch_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.flaw_of(public.image_generations, public.batch_generations) is
  'The reason why no worker can run an item; null if it can run.';

-- lock_items(p_generation_ids)
-- Lock the items' batches, then the items. Never waits for an item while it holds a batch, since an edit by hand locks
-- them in the opposite order: then it releases everything and starts over.
create function batchgen.lock_items(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  loop
    begin
      perform 1 from public.batch_generations b
      where b.id in (select g.batch_id from public.image_generations g where g.id = any (p_generation_ids))
      order by b.id for no key update;
      perform 1 from public.image_generations g where g.id = any (p_generation_ids) for no key update nowait;
      return;
    exception when lock_not_available then
      perform pg_sleep(0.005);
    end;
  end loop;
end
$$;
revoke execute on function batchgen.lock_items(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.lock_items(uuid[]) is 'Locks the items'' batches, then the items.';

-- lock_items_within(p_generation_ids, p_seconds)
-- As batchgen.lock_items, with a time limit. False: another session still holds some of them, and nothing is locked.
create function batchgen.lock_items_within(p_generation_ids uuid[], p_seconds double precision) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_end timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
begin
  loop
    begin
      perform 1 from public.batch_generations b
      where b.id in (select g.batch_id from public.image_generations g where g.id = any (p_generation_ids))
      order by b.id for no key update nowait;
      perform 1 from public.image_generations g where g.id = any (p_generation_ids) for no key update nowait;
      return true;
    exception when lock_not_available then
      exit when clock_timestamp() > v_end;
      perform pg_sleep(0.005);
    end;
  end loop;
  return false;
end
$$;
revoke execute on function batchgen.lock_items_within(uuid[], double precision)
from public, anon, authenticated, service_role;
comment on function batchgen.lock_items_within(uuid[], double precision) is
  'Locks the items'' batches, then the items; gives up after a number of seconds.';

create function batchgen.lock_batch(p_batch_id uuid) returns void
language sql security definer set search_path = '' as $$
  select batchgen.lock_items(array(select g.id from public.image_generations g where g.batch_id = p_batch_id))
$$;
revoke execute on function batchgen.lock_batch(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.lock_batch(uuid) is 'Locks a batch and its items.';

create function batchgen.before_settings_updated() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_settings_updated() from public, anon, authenticated, service_role;
comment on function batchgen.before_settings_updated() is 'Trigger: sets updated_at.';

create trigger before_settings_updated before update on batchgen.settings
for each row execute function batchgen.before_settings_updated();

-- after_settings_updated()
-- Mark all waiting users as touched when the per-user limit changes: a higher one makes more of their rows ready.
create function batchgen.after_settings_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.max_parallel_per_user is distinct from old.max_parallel_per_user then
    insert into batchgen.touched (user_id) select distinct user_id from batchgen.queue where state = 'waiting';
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_settings_updated() from public, anon, authenticated, service_role;
comment on function batchgen.after_settings_updated() is
  'Trigger: marks waiting users as touched when the limit per user changes.';

create trigger after_settings_updated after update on batchgen.settings
for each row execute function batchgen.after_settings_updated();

create view batchgen.totals with (security_invoker = on) as
select b.id, greatest(b.total_count, c.total)::integer as total_count, c.completed::integer as completed_count,
  c.failed::integer as failed_count, s.status,
  case when s.status in ('completed', 'partial', 'failed') then coalesce(b.completed_at,
    clock_timestamp()) end as completed_at
from public.batch_generations b
cross join lateral (
  select count(*) as total,
    count(*) filter (where g.status = 'completed') as completed,
    count(*) filter (where g.status = 'failed') as failed,
    count(*) filter (where g.status = 'pending' and coalesce(g.retry_count, 0) = 0) as untouched
  from public.image_generations g where g.batch_id = b.id
) c
cross join lateral (
  select case
    when c.completed + c.failed < c.total then
      case when coalesce(b.status, 'pending') = 'pending' and c.untouched = c.total then 'pending' else 'processing' end
    when c.completed = 0 then 'failed'
    when c.failed = 0 then 'completed'
    else 'partial'
  end as status
) s;
revoke all on batchgen.totals from public, anon, authenticated, service_role;
comment on view batchgen.totals is 'Correct totals of each batch, counted from its items at the moment.';
comment on column batchgen.totals.id is 'Id of the batch.';
comment on column batchgen.totals.total_count is 'Number of items at submission.';
comment on column batchgen.totals.completed_count is 'Number of completed items.';
comment on column batchgen.totals.failed_count is 'Number of failed items.';
comment on column batchgen.totals.status is 'pending, processing, completed, partial or failed.';
comment on column batchgen.totals.completed_at is 'When the last item ended.';

-- with_totals(p_batch)
-- The batch with counts, status and completed_at computed from its items. The caller holds the batch's row lock, so
-- that two items that end at once cannot miss each other.
create function batchgen.with_totals(p_batch public.batch_generations) returns public.batch_generations
language plpgsql security definer set search_path = '' as $$
declare
  v_totals batchgen.totals;
begin
  select t.* into v_totals from batchgen.totals t where t.id = p_batch.id;
  p_batch.total_count := v_totals.total_count;
  p_batch.completed_count := v_totals.completed_count;
  p_batch.failed_count := v_totals.failed_count;
  p_batch.status := v_totals.status;
  p_batch.completed_at := v_totals.completed_at;
  return p_batch;
end
$$;
revoke execute on function batchgen.with_totals(public.batch_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.with_totals(public.batch_generations) is
  'A batch with counts, status and completed_at computed from its items.';

-- refresh_batches(p_batch_ids)
-- Update the totals of batches; write only those that have changed.
-- Caller: triggers.
-- Locks: the batch rows, by id; the items are read after that.
create function batchgen.refresh_batches(p_batch_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  perform 1 from public.batch_generations b where b.id = any (p_batch_ids) order by b.id for no key update;
  update public.batch_generations b
  set total_count = t.total_count, completed_count = t.completed_count, failed_count = t.failed_count,
    status = t.status, completed_at = t.completed_at
  from batchgen.totals t
  where t.id = any (p_batch_ids) and b.id = t.id
    and (t.total_count, t.completed_count, t.failed_count, t.status, t.completed_at)
      is distinct from (b.total_count, b.completed_count, b.failed_count, b.status, b.completed_at);
end
$$;
revoke execute on function batchgen.refresh_batches(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.refresh_batches(uuid[]) is 'Updates the totals of batches, under their row locks.';

-- before_batch_updated()
-- Ignore a direct edit of totals by the app or an admin: not an error, and the totals stay as computed from the items.
create function batchgen.before_batch_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.status := old.status;
  new.completed_at := old.completed_at;
  return batchgen.with_totals(new);
end
$$;
revoke execute on function batchgen.before_batch_updated() from public, anon, authenticated, service_role;
comment on function batchgen.before_batch_updated() is 'Trigger: undoes edits of totals by hand.';
