-- Actions on a whole batch: cancel it, retry its failed items, save, tag and delete its pictures. Repeating an action
-- changes nothing more and returns the same form of answer.
--
-- All return {batch: {id, name, status, total_count, completed_count, failed_count}, done: [{generation_id, index,
-- action, …}], refused: [{generation_id, index, code, message}]}: each item of the batch once, in the batch's order.
-- Errors: PT401 not_signed_in; PT404 batch_not_found (not found, or another user's); PT422 for arguments; PT429 if a
-- limit is reached.
--
-- Locks: the batch and all of its items first (batchgen.lock_items), except for save and tag, which change only
-- pictures.

-- The outcome of an action for one item. is_done: code is an action; otherwise the reason why nothing was done.
create type batchgen.item_outcome as (
  generation_id uuid, batch_index integer, is_done boolean, code text, more jsonb
);

create function batchgen.refusal_message(p_code text) returns text
language sql immutable set search_path = '' as $$
  select case p_code
    when 'already_completed' then 'The picture is finished.'
    when 'already_failed' then 'The item has failed already.'
    when 'cancelled' then 'The item was cancelled; submit it again as a new item.'
    when 'blocked_by_policy'
      then 'The provider refused this prompt; change it and submit it as a new item.'
    when 'outcome_unknown'
      then 'It is unknown whether the picture was paid for; an admin of the project decides.'
    when 'no_image' then 'The item has no picture.'
    when 'still_waiting' then 'The item is waiting; cancel it first.'
    when 'still_running' then 'The item is running; cancel it first.'
    else 'The item cannot be run again.'
  end
$$;
revoke execute on function batchgen.refusal_message(text) from public, anon, authenticated, service_role;
comment on function batchgen.refusal_message(text) is 'Message why nothing was done for an item.';

create function batchgen.action_answer(p_batch_id uuid, p_outcomes batchgen.item_outcome[]) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object(
    'batch', (
      select jsonb_build_object('id', b.id, 'name', b.name, 'status', b.status, 'total_count', b.total_count,
        'completed_count', b.completed_count, 'failed_count', b.failed_count)
      from public.batch_generations b where b.id = p_batch_id
    ),
    'done', coalesce(
      jsonb_agg(
        jsonb_build_object('generation_id', o.generation_id, 'index', o.batch_index, 'action', o.code)
          || coalesce(o.more, '{}')
        order by o.batch_index, o.generation_id
      ) filter (where o.is_done), '[]'),
    'refused', coalesce(
      jsonb_agg(
        jsonb_build_object('generation_id', o.generation_id, 'index', o.batch_index, 'code', o.code,
          'message', batchgen.refusal_message(o.code))
        order by o.batch_index, o.generation_id
      ) filter (where not o.is_done), '[]')
  )
  from unnest(p_outcomes) o
$$;
revoke execute on function batchgen.action_answer(uuid, batchgen.item_outcome[])
from public, anon, authenticated, service_role;
comment on function batchgen.action_answer(uuid, batchgen.item_outcome[]) is
  'The answer of an action: done and refused items.';

-- act_on_any_batch(p_action, p_batch_id, p_tags)
-- Perform an action for an operator; act_on_batch is for the owner.
create function batchgen_api.act_on_any_batch(p_action text, p_batch_id uuid, p_tags text[]) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_outcomes batchgen.item_outcome[];
begin
  if not exists (select from public.batch_generations b where b.id = p_batch_id) then
    perform batchgen.refuse_batch();
  end if;
  v_outcomes := case p_action
    when 'cancel' then batchgen.cancel_batch(p_batch_id)
    when 'retry' then batchgen.retry_failed(p_batch_id)
    when 'save' then batchgen.save_batch_images(p_batch_id)
    when 'tag' then batchgen.tag_batch_images(p_batch_id, p_tags)
    when 'delete' then batchgen.delete_batch_images(p_batch_id)
  end;
  return batchgen.action_answer(p_batch_id, v_outcomes);
end
$$;
revoke execute on function batchgen_api.act_on_any_batch(text, uuid, text[])
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_any_batch(text, uuid, text[]) to service_role;
comment on function batchgen_api.act_on_any_batch(text, uuid, text[]) is
  'Behind the actions on batches: for operators.';

create function batchgen_api.act_on_batch(p_action text, p_batch_id uuid, p_tags text[]) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from public.batch_generations b where b.id = p_batch_id and b.user_id = auth.uid()) then
    perform batchgen.refuse_batch();
  end if;
  return batchgen_api.act_on_any_batch(p_action, p_batch_id, p_tags);
end
$$;
revoke execute on function batchgen_api.act_on_batch(text, uuid, text[]) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_batch(text, uuid, text[]) to authenticated;
comment on function batchgen_api.act_on_batch(text, uuid, text[]) is
  'Behind the actions on batches: for the batch''s owner.';

-- act(p_action, p_batch_id, p_tags)
-- Perform an action with the caller's rights: an operator's or an owner's.
create function batchgen_api.act(p_action text, p_batch_id uuid, p_tags text[] default null) returns jsonb
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.act_on_any_batch(text, uuid, text[])', 'execute') then
    return batchgen_api.act_on_any_batch(p_action, p_batch_id, p_tags);
  end if;
  return batchgen_api.act_on_batch(p_action, p_batch_id, p_tags);
end
$$;
revoke execute on function batchgen_api.act(text, uuid, text[]) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act(text, uuid, text[]) to authenticated, service_role;
comment on function batchgen_api.act(text, uuid, text[]) is
  'Behind the actions on batches: with the caller''s rights, an operator''s or an owner''s.';

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

-- Cancelling, shared by the user functions, the app's direct writes and deleted batches.
--
-- Locks, as everywhere: batches by id, items, queue rows. A session that holds items and then needs their batch (an
-- edit by the app) locks the batch's other items only if they are free.

-- request_cancel(p_batch_ids)
-- Set the cancel request of all waiting and running items of these batches. The lock on the queue row keeps claims away
-- from it; an item that is just being claimed is marked after that.
-- Caller: holds the batches' row locks, and calls end_cancelled before it commits.
create function batchgen.request_cancel(p_batch_ids uuid[]) returns void
language sql security definer set search_path = '' as $$
  update batchgen.queue q set cancel_requested = true
  from public.image_generations g
  where g.batch_id = any (p_batch_ids) and q.generation_id = g.id
$$;
revoke execute on function batchgen.request_cancel(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.request_cancel(uuid[]) is
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

-- cancel_items(p_batch_ids)
-- Cancel all items of these batches that have not ended: waiting ones end at once, running ones are marked. Returns the
-- ids of the items ended here. Items that were running before the queue existed have no worker: they end here, too.
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
  'Cancels items of batches: ends waiting ones, marks running ones for their workers.';

-- delete_batch_images(p_batch_id)
-- Delete the pictures of a batch: rows at once, files through the outbox. Items and totals stay. Waiting and running
-- items are refused, since they would make another picture.
create function batchgen.delete_batch_images(p_batch_id uuid) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_outcomes batchgen.item_outcome[];
begin
  perform batchgen.lock_batch(p_batch_id);
  v_outcomes := array(
    select row(
      p.generation_id, p.batch_index, coalesce(p.status, '') not in ('pending', 'processing'),
      case
        when p.status = 'pending' then 'still_waiting'
        when p.status = 'processing' then 'still_running'
        when p.image_id is null then 'already_deleted'
        else 'deleted'
      end,
      case when p.image_id is not null then jsonb_build_object('image_id', p.image_id) end
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_batch_id) p
  );
  perform batchgen.delete_images(array(
    select i.id
    from unnest(v_outcomes) o
    join public.image_generations g on g.id = o.generation_id
    join public.images i on i.generation_id = g.id and i.user_id is not distinct from g.user_id
    where o.is_done
  ));
  return v_outcomes;
end
$$;
revoke execute on function batchgen.delete_batch_images(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.delete_batch_images(uuid) is 'Deletes the pictures of a batch.';

-- delete_batch_images(p_batch_id)
-- Delete the pictures of a batch.
-- Actions: deleted, with image_id; already_deleted. Refused: still_waiting, still_running.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.delete_batch_images(p_batch_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('delete', p_batch_id)
$$;
revoke execute on function public.delete_batch_images(uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_batch_images(uuid) to authenticated, service_role;
comment on function public.delete_batch_images(uuid) is
  'Deletes the pictures of a batch, rows and files; items and totals stay.';

-- pictures_of(p_batch_id)
-- The items of a batch, each with its picture: the one that complete_generation keeps.
create function batchgen.pictures_of(p_batch_id uuid)
returns table (generation_id uuid, batch_index integer, status text, image_id uuid, saved_at timestamptz)
language sql stable security definer set search_path = '' as $$
  select g.id, g.batch_index, g.status, p.id, p.saved_at
  from public.image_generations g
  left join lateral (
    select i.id, i.saved_at from public.images i
    where i.generation_id = g.id and i.user_id is not distinct from g.user_id order by i.created_at, i.id limit 1
  ) p on true
  where g.batch_id = p_batch_id
$$;
revoke execute on function batchgen.pictures_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.pictures_of(uuid) is 'The items of a batch, each with its picture.';

-- may_be_retried(p_generation)
-- True if a failed item may run again for its user.
create function batchgen.may_be_retried(p_generation public.image_generations) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_generation.status = 'failed' and p_generation.batch_id is not null and not exists (
    select from batchgen.failures f where f.generation_id = p_generation.id and batchgen.is_never_retried(f.code)
  )
$$;
revoke execute on function batchgen.may_be_retried(public.image_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.may_be_retried(public.image_generations) is
  'True if a failed item may run again for its user.';

-- requeue_items(p_user_id, p_generation_ids)
-- Queue failed items again with all retries, within the user's limits and credits. The caller holds the items' locks.
-- States: failed -> pending. Errors: PT429, PT402.
create function batchgen.requeue_items(p_user_id uuid, p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is not null then
    perform batchgen.take_from_limits(p_user_id, cardinality(p_generation_ids));
  end if;
  update public.image_generations g set status = 'pending', error_message = null, error_code = null, retry_count = 0,
    completed_at = null
  where g.id = any (p_generation_ids);
  if p_user_id is not null and (select s.credits from batchgen.settings s) then
    perform batchgen.refuse_overdrawn(p_user_id, p_generation_ids);
  end if;
end
$$;
revoke execute on function batchgen.requeue_items(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.requeue_items(uuid, uuid[]) is
  'Queues failed items again, within their user''s limits and credits.';

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

create function batchgen.save_batch_images(p_batch_id uuid) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_saved uuid[];
begin
  with saved as (
    update public.images i set saved_at = clock_timestamp()
    where i.id in (select p.image_id from batchgen.pictures_of(p_batch_id) p) and i.saved_at is null
    returning i.id
  )
  select coalesce(array_agg(id), '{}') into v_saved from saved;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_saved)
        then 'saved' else 'already_saved' end,
      jsonb_build_object('image_id', p.image_id)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_batch_id) p
  );
end
$$;
revoke execute on function batchgen.save_batch_images(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.save_batch_images(uuid) is 'Marks the pictures of a batch as saved.';

-- save_batch_images(p_batch_id)
-- Mark the pictures of a batch as saved.
-- Actions: saved, already_saved, with image_id. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.save_batch_images(p_batch_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('save', p_batch_id)
$$;
revoke execute on function public.save_batch_images(uuid) from public, anon, authenticated, service_role;
grant execute on function public.save_batch_images(uuid) to authenticated, service_role;
comment on function public.save_batch_images(uuid) is
  'Marks the pictures of a batch as saved, so that retention keeps them.';

create function batchgen.tag_batch_images(p_batch_id uuid, p_tags text[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_names text[] := batchgen.clean_tags(p_tags);
  v_tag_ids uuid[];
  v_tagged uuid[];
begin
  insert into public.tags (name) select name from unnest(v_names) name order by name on conflict do nothing;
  perform batchgen.count_tags(auth.uid());
  v_tag_ids := array(select t.id from public.tags t where t.name = any (v_names));
  with tagged as (
    insert into public.image_tags (image_id, tag_id)
    select p.image_id, n.tag_id
    from batchgen.pictures_of(p_batch_id) p cross join unnest(v_tag_ids) n (tag_id)
    where p.image_id is not null
      and not exists (select from public.image_tags i where i.image_id = p.image_id and i.tag_id = n.tag_id)
    order by p.image_id, n.tag_id
    on conflict do nothing
    returning image_id
  )
  select coalesce(array_agg(distinct image_id), '{}') into v_tagged from tagged;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_tagged)
        then 'tagged' else 'already_tagged' end,
      jsonb_build_object('image_id', p.image_id, 'tags', v_names)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_batch_id) p
  );
end
$$;
revoke execute on function batchgen.tag_batch_images(uuid, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.tag_batch_images(uuid, text[]) is 'Tags the pictures of a batch.';

-- tag_batch_images(p_batch_id, p_tags)
-- Tag the pictures of a batch.
-- Actions: tagged, already_tagged, with image_id and tags. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for an invalid tag; PT429 if the user has created too many.
create function public.tag_batch_images(p_batch_id uuid, p_tags text[]) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('tag', p_batch_id, p_tags)
$$;
revoke execute on function public.tag_batch_images(uuid, text[]) from public, anon, authenticated, service_role;
grant execute on function public.tag_batch_images(uuid, text[]) to authenticated, service_role;
comment on function public.tag_batch_images(uuid, text[]) is 'Tags the pictures of a batch; creates missing tags.';
