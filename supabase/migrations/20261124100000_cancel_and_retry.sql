-- Cancelling and retrying, in one place for all who do it: the user functions, the app's direct writes, deleted batches.
-- Differs from queue.sql and worker_functions.sql: a deleted batch's running items keep their lease, with a cancel
-- request, until their worker has stopped them; expired leases with a cancel request end as cancelled.
--
-- Locks, as everywhere: batches by id, items, queue rows. Who holds items already and comes for their batch (an edit by
-- the app) takes the batch's other items only where they are free.

-- batchgen.take_from_limits(p_user_id, p_items): called in the transaction that puts so many items into a user's queue.
create function batchgen.take_from_limits(p_user_id uuid, p_items integer) returns void
language sql security definer set search_path = '' as $$
  select
$$;
revoke execute on function batchgen.take_from_limits(uuid, integer) from public, anon, authenticated, service_role;

-- batchgen.is_never_retried(p_code): an item that failed with such a code is not run again for its user.
create function batchgen.is_never_retried(p_code text) returns boolean
language sql immutable set search_path = '' as $$
  -- outcome_unknown: the picture may be bought already; an admin looks, and sets the item to pending or leaves it.
  select p_code in ('cancelled', 'blocked_by_policy', 'outcome_unknown')
$$;
revoke execute on function batchgen.is_never_retried(text) from public, anon, authenticated, service_role;

-- Items that the app cancelled before this migration: only their message tells.
insert into batchgen.failures (generation_id, code)
select g.id, 'cancelled' from public.image_generations g
where g.batch_id is not null and g.status = 'failed' and g.error_message = 'Cancelled by user'
on conflict do nothing;

create function batchgen.note_failures(p_generation_ids uuid[], p_code text) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.failures (generation_id, code)
  select id, p_code from unnest(p_generation_ids) as id
  on conflict (generation_id) do update set code = excluded.code, failed_at = now()
$$;
revoke execute on function batchgen.note_failures(uuid[], text) from public, anon, authenticated, service_role;

-- batchgen.request_cancel(p_batch_ids)
-- Marks all that waits or runs of these batches. Whoever holds the mark's row keeps claims away from it, and an item that
-- is just being claimed is marked after that. Caller: holds the batches' row locks, and calls end_cancelled before it commits.
create function batchgen.request_cancel(p_batch_ids uuid[]) returns void
language sql security definer set search_path = '' as $$
  update batchgen.queue q set cancel_requested = true
  from public.image_generations g
  where g.batch_id = any (p_batch_ids) and q.generation_id = g.id
$$;
revoke execute on function batchgen.request_cancel(uuid[]) from public, anon, authenticated, service_role;

-- batchgen.end_cancelled(p_batch_ids)
-- Ends the marked items that wait; those that run end when their worker has stopped them. Returns the ids of those that
-- ended here. An item that somebody edits just now is waited for, but not for long: who edits may wait for this batch.
-- PT409 busy then, and nothing is cancelled.
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
  perform batchgen.refuse('busy', 'Items of this batch are being changed just now.', null, 'Try again.', null, null, 'PT409');
  return v_ended;
end
$$;
revoke execute on function batchgen.end_cancelled(uuid[]) from public, anon, authenticated, service_role;

-- batchgen.cancel_items(p_batch_ids)
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

-- batchgen.requeue_items(p_user_id, p_generation_ids)
-- failed -> pending with all retries before them, within the user's limits (PT429). The caller holds the items' locks.
create function batchgen.requeue_items(p_user_id uuid, p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is not null then
    perform batchgen.take_from_limits(p_user_id, cardinality(p_generation_ids));
  end if;
  update public.image_generations g set status = 'pending', error_message = null, error_code = null, retry_count = 0, completed_at = null
  where g.id = any (p_generation_ids);
end
$$;
revoke execute on function batchgen.requeue_items(uuid, uuid[]) from public, anon, authenticated, service_role;

-- A deleted batch lets go of its items (the foreign key's SET NULL). One that waits ends in that same update.
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
create trigger batchgen_before_leaving before update of batch_id on public.image_generations
for each row when (old.batch_id is not null and new.batch_id is null and new.status = 'pending')
execute function batchgen.before_item_leaves_batch();

-- An item of a batch that somebody fails by hand says so in error_code; one that has not failed has none.
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
comment on function batchgen.before_item_status_updated() is 'Trigger: an item that is failed by hand has an error_code, and no other one.';
-- What the worker's functions write says so itself, and costs no call of this.
create trigger batchgen_error_code before update of status on public.image_generations
for each row when (new.batch_id is not null and (new.status = 'failed') is distinct from (new.error_code is not null))
execute function batchgen.before_item_status_updated();

create or replace function batchgen.after_generations_updated() returns trigger
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
    -- out of the queue: final, or not part of a batch any more
    array_agg(n.id) filter (where f.was_deserted
      or (f.was_queued and not f.is_queued and not (f.is_deserted and n.status = 'processing'))),
    -- their batch was deleted while they waited, while they ran
    array_agg(n.id) filter (where f.is_deserted and o.status = 'pending' and n.status = 'failed'),
    array_agg(n.id) filter (where f.is_deserted and n.status = 'processing'),
    -- their batch was deleted before, and they would have to wait now
    array_agg(n.id) filter (where f.was_deserted and n.status = 'pending'),
    -- (back) into the queue: made pending from anything else, or a final item set to processing by hand
    array_agg(n.id) filter (where f.is_queued and (
      (n.status = 'pending' and (not f.was_queued or o.status <> 'pending')) or (not f.was_queued and o.batch_id is not null)
    )),
    -- another place in the queue
    array_agg(n.id) filter (where f.was_queued and f.is_queued
      and (o.user_id, o.priority, o.created_at, o.batch_index, o.model_id)
        is distinct from (n.user_id, n.priority, n.created_at, n.batch_index, n.model_id)),
    -- batches that begin
    array_agg(n.batch_id) filter (where o.status = 'pending' and n.status = 'processing'),
    -- batches whose counts change
    array_agg(n.batch_id) filter (where f.is_counted) || array_agg(o.batch_id) filter (where f.is_counted)
  into v_left, v_ended, v_running, v_set_back, v_entered, v_moved, v_started, v_counted
  -- A full join is one by hashing. A session keeps the plan of its first call, and for one row that would be a nested loop.
  from old_rows o
  full join new_rows n using (id)
  cross join lateral (
    select o.batch_id is not null and coalesce(o.status, '') in ('pending', 'processing') as was_queued,
      n.batch_id is not null and coalesce(n.status, '') in ('pending', 'processing') as is_queued,
      -- The app's own single generations look like this, too: they have no queue row.
      o.batch_id is null and n.batch_id is null and o.status = 'processing' and n.status is distinct from 'processing' as was_deserted
  ) q
  cross join lateral (
    select q.was_queued, q.is_queued, q.was_deserted,
      o.batch_id is distinct from n.batch_id
      or (o.status is distinct from n.status and not (q.was_queued and q.is_queued)) as is_counted,
      q.was_queued and n.batch_id is null
      and not exists (select from public.batch_generations b where b.id = o.batch_id) as is_deserted
  ) f
  where o.batch_id is not null or n.batch_id is not null or q.was_deserted;

  if v_set_back is not null then
    v_set_back := array(select q.generation_id from batchgen.queue q where q.generation_id = any (v_set_back));
  end if;

  if v_left is not null then
    with gone as (delete from batchgen.queue q where q.generation_id = any (v_left) returning q.user_id)
    insert into batchgen.touched (user_id) select distinct user_id from gone;
  end if;

  if v_ended is not null then
    perform batchgen.note_failures(v_ended, 'cancelled');
  end if;

  if v_running is not null then
    -- Their workers stop them at the provider and end them.
    update batchgen.queue q set cancel_requested = true where q.generation_id = any (v_running);
    v_set_back := v_set_back || array(
      select r.id from unnest(v_running) r (id)
      where not exists (select from batchgen.queue q where q.generation_id = r.id and q.state = 'running')
    );
  end if;

  if v_set_back <> '{}' then
    -- Nobody would ever run or end them.
    perform batchgen.end_as_failed(v_set_back, 'cancelled', 'The batch was deleted.');
  end if;

  if v_entered is not null then
    delete from batchgen.failures f where f.generation_id = any (v_entered);
    perform batchgen.keep_files(v_entered);
    -- A row that waits already was put there by a worker's function and keeps its due time. One that still runs was
    -- set back by hand: its lease ends here, and its worker finds out at its next call.
    with queued as (
      insert into batchgen.queue as q (generation_id, user_id, priority, created_at, batch_index, model_id, state, due_at)
      select n.id, batchgen.owner_of(n.user_id, n.batch_id), batchgen.place_of(n.priority),
        coalesce(n.created_at, now()), coalesce(n.batch_index, 0), coalesce(n.model_id, '00000000-0000-0000-0000-000000000000'),
        case when d.until is null then 'waiting' else 'delayed' end::batchgen.queue_state, coalesce(d.until, now())
      from new_rows n cross join lateral batchgen.files_deleted_until(n.id) d (until)
      where n.id = any (v_entered)
      on conflict (generation_id) do update
        set state = excluded.state, due_at = excluded.due_at, lease_id = null, lease_expires_at = null, worker = null,
          started_at = null, cancel_requested = false, ran_alone = false
        where q.state = 'running'
      returning q.user_id
    )
    insert into batchgen.touched (user_id) select distinct user_id from queued;
  end if;

  if v_moved is not null then
    with before as (
      select q.generation_id, q.user_id from batchgen.queue q where q.generation_id = any (v_moved) for update
    ),
    moved as (
      update batchgen.queue q
      set user_id = batchgen.owner_of(n.user_id, n.batch_id), priority = batchgen.place_of(n.priority),
        created_at = coalesce(n.created_at, q.created_at), batch_index = coalesce(n.batch_index, 0),
        model_id = coalesce(n.model_id, '00000000-0000-0000-0000-000000000000'),
        -- The next claim looks at a parked item anew: its new model may be one that runs.
        state = case when q.state = 'parked' then 'waiting' else q.state end
      from new_rows n join before b on b.generation_id = n.id
      where q.generation_id = n.id
      returning q.user_id, b.user_id as user_before
    )
    insert into batchgen.touched (user_id)
    select user_id from moved union select user_before from moved;
  end if;

  if v_started is not null then
    -- A start changes no count: it only opens a batch that was pending.
    perform 1 from public.batch_generations b
    where b.id = any (v_started) and b.status = 'pending' order by b.id for no key update;
    update public.batch_generations b set status = 'processing' where b.id = any (v_started) and b.status = 'pending';
  end if;

  if v_counted is not null then
    perform batchgen.refresh_batches(v_counted);
  end if;
  return null;
end
$$;

-- As before; now it also repairs the user of an item that ran on without its batch.
create or replace function batchgen.after_generations_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- The queue rows go by their foreign key.
  insert into batchgen.touched (user_id)
  select distinct batchgen.owner_of(o.user_id, o.batch_id) from old_rows o
  where o.status = 'processing' or (o.batch_id is not null and o.status = 'pending');
  perform batchgen.refresh_batches(array(select distinct o.batch_id from old_rows o where o.batch_id is not null));
  return null;
end
$$;

-- return_expired_leases()
-- Takes back the items whose lease has ended: due again at once, to run alone; cancelled where that was asked for; or
-- failed as 'crashed' after settings.max_crashes while they ran alone. Returns how many. Caller: service_role, and every claim. Locks: skips what
-- others hold, so it never waits.
create or replace function public.return_expired_leases() returns integer
language plpgsql security definer set search_path = '' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_expired uuid[];
  v_poison uuid[];
  v_cancelled uuid[];
  v_deserted uuid[];
  v_max_crashes integer;
begin
  if not exists (select from batchgen.queue q where q.state = 'running' and q.lease_expires_at <= clock_timestamp()) then
    return 0;
  end if;
  select s.max_crashes into v_max_crashes from batchgen.settings s;
  select array_agg(x.generation_id) filter (where not x.cancel_requested),
    array_agg(x.generation_id) filter (where not x.cancel_requested and x.ran_alone and x.lone_crash_count + 1 >= v_max_crashes),
    coalesce(array_agg(x.generation_id) filter (where x.cancel_requested), '{}')
  into v_expired, v_poison, v_cancelled
  from (
    select q.generation_id, q.ran_alone, q.lone_crash_count, q.cancel_requested
    from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    join public.batch_generations b on b.id = g.batch_id
    where q.state = 'running' and q.lease_expires_at <= clock_timestamp()
    for no key update of b, g, q skip locked
  ) x;
  -- Their batch was deleted while they ran: there is none to lock.
  v_deserted := array(
    select q.generation_id
    from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    where q.state = 'running' and q.lease_expires_at <= clock_timestamp() and g.batch_id is null
    for no key update of g, q skip locked
  );
  if v_cancelled <> '{}' then
    perform batchgen.end_as_failed(v_cancelled, 'cancelled', 'Cancelled by user');
  end if;
  if v_deserted <> '{}' then
    perform batchgen.end_as_failed(v_deserted, 'cancelled', 'The batch was deleted.');
  end if;
  if v_poison is not null then
    perform batchgen.end_as_failed(v_poison, 'crashed', format('The worker stopped %s times while it made this picture.', v_max_crashes));
  end if;
  if v_expired is not null then
    perform batchgen.take_back(array(select unnest(v_expired) except select unnest(v_poison)), 0, true, false);
  end if;
  return coalesce(cardinality(v_expired), 0) + cardinality(v_cancelled) + cardinality(v_deserted);
end
$$;
