-- Actions on the items of a batch: cancel them, retry failed ones, save, tag, untag, rate, trash, restore and delete
-- their pictures. p_generation_ids names the items; null means all. Repeating an action changes nothing more and
-- returns the same form of answer.
--
-- All return {batch: {id, name, status, total_count, completed_count, failed_count}, done: [{generation_id, index,
-- action, …}], refused: [{generation_id, index, code, message}]}: each item once, in the batch's order.
-- Errors: PT401 not_signed_in; PT404 batch_not_found and item_not_found (not found, or another user's); PT422 for
-- arguments; PT429 if a limit is reached.
--
-- Locks: the batch and all of its items first (batchgen.lock_items), except for save, tag, untag and rate, which change
-- only pictures.

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
      then 'The provider refused this prompt; retry the item with another prompt.'
    when 'outcome_unknown'
      then 'It is unknown whether the picture was paid for; an admin of the project decides.'
    when 'no_image' then 'The item has no picture.'
    when 'not_failed' then 'The item has not failed; only failed items can be edited.'
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

-- select_items(p_batch_id, p_generation_ids)
-- The ids of the items that an action is for, each once: the named ones, or all items of the batch if none are named.
-- Errors: PT422 for more than 1,000 ids; PT404 for an id that is not of this batch, whether or not it exists.
create function batchgen.select_items(p_batch_id uuid, p_generation_ids uuid[]) returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
declare
  v_position integer;
begin
  if p_generation_ids is null then
    return array(select g.id from public.image_generations g where g.batch_id = p_batch_id);
  end if;
  if cardinality(p_generation_ids) > 1000 then
    perform batchgen.refuse('too_many_items',
      format('p_generation_ids has %s ids; at most 1000 are allowed.', cardinality(p_generation_ids)),
      'p_generation_ids', 'Send at most 1000 ids, or leave it out for all items of the batch.', null, to_jsonb(1000));
  end if;
  select n.position - 1 into v_position
  from unnest(p_generation_ids) with ordinality n (id, position)
  where not exists (select from public.image_generations g where g.id = n.id and g.batch_id = p_batch_id)
  order by n.position limit 1;
  if found then
    perform batchgen.refuse('item_not_found', format('p_generation_ids[%s] is not an item of this batch.', v_position),
      format('p_generation_ids[%s]', v_position), 'Use ids of items of this batch.', null, null, 'PT404');
  end if;
  return array(select distinct n.id from unnest(p_generation_ids) n (id));
end
$$;
revoke execute on function batchgen.select_items(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.select_items(uuid, uuid[]) is
  'The ids of the items that an action is for; refuses ids of other batches.';

-- act_on_any_batch(p_action, p_batch_id, p_generation_ids, p_arguments)
-- Perform an action for an operator; act_on_batch is for the owner. p_arguments: {waiting_only, edits, tags, rating}.
create function batchgen_api.act_on_any_batch(
  p_action text, p_batch_id uuid, p_generation_ids uuid[], p_arguments jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[];
  v_tags text[];
  v_edits jsonb;
  v_outcomes batchgen.item_outcome[];
begin
  if not exists (select from public.batch_generations b where b.id = p_batch_id) then
    perform batchgen.refuse_batch();
  end if;
  v_ids := batchgen.select_items(p_batch_id, p_generation_ids);
  if p_action in ('tag', 'untag') then
    v_tags := batchgen.clean_tags(array(select jsonb_array_elements_text(p_arguments -> 'tags')));
  end if;
  case p_action
    when 'cancel' then
      v_outcomes := batchgen.cancel_batch(p_batch_id, v_ids, (p_arguments -> 'waiting_only')::boolean);
    when 'retry' then
      v_edits := nullif(p_arguments -> 'edits', 'null');
      v_outcomes := batchgen.retry_failed(p_batch_id,
        case when p_generation_ids is not null or v_edits is null then v_ids end, v_edits);
    when 'save' then v_outcomes := batchgen.save_batch_images(v_ids);
    when 'tag' then v_outcomes := batchgen.tag_batch_images(v_ids, v_tags);
    when 'untag' then v_outcomes := batchgen.untag_batch_images(v_ids, v_tags);
    when 'rate' then
      v_outcomes := batchgen.rate_batch_images(v_ids, (p_arguments ->> 'rating')::integer);
    when 'trash' then
      v_outcomes := batchgen.trash_batch_images(p_batch_id, v_ids, p_generation_ids is null);
    when 'restore' then v_outcomes := batchgen.restore_batch_images(p_batch_id, v_ids);
    when 'delete' then v_outcomes := batchgen.delete_batch_images(p_batch_id, v_ids);
  end case;
  return batchgen.action_answer(p_batch_id, v_outcomes);
end
$$;
revoke execute on function batchgen_api.act_on_any_batch(text, uuid, uuid[], jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_any_batch(text, uuid, uuid[], jsonb) to service_role;
comment on function batchgen_api.act_on_any_batch(text, uuid, uuid[], jsonb) is
  'Behind the actions on batches: for operators.';

create function batchgen_api.act_on_batch(
  p_action text, p_batch_id uuid, p_generation_ids uuid[], p_arguments jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from public.batch_generations b where b.id = p_batch_id and b.user_id = auth.uid()) then
    perform batchgen.refuse_batch();
  end if;
  return batchgen_api.act_on_any_batch(p_action, p_batch_id, p_generation_ids, p_arguments);
end
$$;
revoke execute on function batchgen_api.act_on_batch(text, uuid, uuid[], jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_batch(text, uuid, uuid[], jsonb) to authenticated;
comment on function batchgen_api.act_on_batch(text, uuid, uuid[], jsonb) is
  'Behind the actions on batches: for the batch''s owner.';

-- act(p_action, p_batch_id, p_generation_ids, p_arguments)
-- Perform an action with the caller's rights: an operator's or an owner's.
create function batchgen_api.act(
  p_action text, p_batch_id uuid, p_generation_ids uuid[], p_arguments jsonb default '{}'
) returns jsonb
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.act_on_any_batch(text, uuid, uuid[], jsonb)', 'execute') then
    return batchgen_api.act_on_any_batch(p_action, p_batch_id, p_generation_ids, p_arguments);
  end if;
  return batchgen_api.act_on_batch(p_action, p_batch_id, p_generation_ids, p_arguments);
end
$$;
revoke execute on function batchgen_api.act(text, uuid, uuid[], jsonb) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act(text, uuid, uuid[], jsonb) to authenticated, service_role;
comment on function batchgen_api.act(text, uuid, uuid[], jsonb) is
  'Behind the actions on batches: with the caller''s rights, an operator''s or an owner''s.';

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

-- delete_batch_images(p_batch_id, p_ids)
-- Delete the pictures of these items: rows at once, files through the outbox. Items and totals stay. Waiting and
-- running items are refused, since they would make another picture.
create function batchgen.delete_batch_images(p_batch_id uuid, p_ids uuid[]) returns batchgen.item_outcome[]
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
    from batchgen.pictures_of(p_ids) p
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
revoke execute on function batchgen.delete_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.delete_batch_images(uuid, uuid[]) is 'Deletes pictures of a batch.';

-- delete_batch_images(p_batch_id, p_generation_ids)
-- Delete the pictures of a batch, or of the named items.
-- Actions: deleted, with image_id; already_deleted. Refused: still_waiting, still_running.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for too many ids.
create function public.delete_batch_images(p_batch_id uuid, p_generation_ids uuid[] default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('delete', p_batch_id, p_generation_ids)
$$;
revoke execute on function public.delete_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.delete_batch_images(uuid, uuid[]) to authenticated, service_role;
comment on function public.delete_batch_images(uuid, uuid[]) is
  'Deletes the pictures of a batch, all or those of the named items, rows and files; items and totals stay.';

-- pictures_of(p_ids)
-- Items, each with its picture: the one that complete_generation keeps.
create function batchgen.pictures_of(p_ids uuid[])
returns table (generation_id uuid, batch_index integer, status text, image_id uuid, saved_at timestamptz)
language sql stable security definer set search_path = '' as $$
  select g.id, g.batch_index, g.status, p.id, p.saved_at
  from public.image_generations g
  left join lateral (
    select i.id, i.saved_at from public.images i
    where i.generation_id = g.id and i.user_id is not distinct from g.user_id order by i.created_at, i.id limit 1
  ) p on true
  where g.id = any (p_ids)
$$;
revoke execute on function batchgen.pictures_of(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.pictures_of(uuid[]) is 'Items, each with its picture.';

-- Edits of a retry: [{generation_id, prompt, negative_prompt, seed, model_id}], each field but the first optional. They
-- follow the rules of create_batch.

-- One edited item. The values are those after the edit; changed names the fields that the edit changes.
create type batchgen.item_edit as (
  generation_id uuid, prompt text, negative_prompt text, seed bigint, model_id uuid, model text, changed text[]
);

-- read_edits(p_batch_id, p_ids, p_edits)
-- The edits of items of this batch; empty if p_edits is null. p_ids: the items that the retry names; null means those
-- of p_edits.
-- Errors: PT422 for an invalid edit; PT404 for an item of another batch.
create function batchgen.read_edits(
  p_batch_id uuid, p_ids uuid[], p_edits jsonb
) returns batchgen.item_edit[]
language plpgsql security definer set search_path = '' as $$
declare
  v_edit jsonb;
  v_path text;
  v_one batchgen.item_edit;
  v_edits batchgen.item_edit[] := '{}';
begin
  if p_edits is null then
    return v_edits;
  end if;
  if jsonb_typeof(p_edits) <> 'array' then
    perform batchgen.refuse('wrong_type', 'p_edits is not a list.', 'p_edits',
      'Send a list of {generation_id, prompt, negative_prompt, seed, model_id}.');
  end if;
  if jsonb_array_length(p_edits) > 1000 then
    perform batchgen.refuse('too_many_items',
      format('p_edits has %s entries; at most 1000 are allowed.', jsonb_array_length(p_edits)), 'p_edits',
      'Send at most one entry for each item.', null, to_jsonb(1000));
  end if;
  for v_edit, v_path in
    select e.value, format('p_edits[%s]', e.ordinality - 1) from jsonb_array_elements(p_edits) with ordinality e
  loop
    v_one := batchgen.read_edit(p_batch_id, v_edit, v_path);
    if exists (select from unnest(v_edits) e where e.generation_id = v_one.generation_id) then
      perform batchgen.refuse('duplicate_item', v_path || ' is for an item that has an edit already.',
        v_path || '.generation_id', 'Send one edit for each item.');
    end if;
    if v_one.generation_id <> all (p_ids) then
      perform batchgen.refuse('item_not_named', v_path || ' is for an item that p_generation_ids does not name.',
        v_path || '.generation_id', 'Add its id to p_generation_ids, or leave p_generation_ids out.');
    end if;
    v_edits := v_edits || v_one;
  end loop;
  return v_edits;
end
$$;
revoke execute on function batchgen.read_edits(uuid, uuid[], jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_edits(uuid, uuid[], jsonb) is 'The edits of a retry, checked like a new request.';

-- read_edit(p_batch_id, p_edit, p_path)
-- One edit, merged with its item. An empty negative_prompt removes it; null and missing fields leave theirs.
create function batchgen.read_edit(p_batch_id uuid, p_edit jsonb, p_path text) returns batchgen.item_edit
language plpgsql security definer set search_path = '' as $$
declare
  v_item public.image_generations;
  v_model public.models;
  v_most integer := (select s.max_prompt_characters from batchgen.settings s);
  v_new batchgen.item_edit;
begin
  if jsonb_typeof(p_edit) <> 'object' then
    perform batchgen.refuse('wrong_type', p_path || ' is not an object.', p_path,
      'Send {generation_id, prompt, negative_prompt, seed, model_id}.');
  end if;
  perform batchgen.refuse_unknown_fields(p_edit, p_path || '.', '{generation_id,prompt,negative_prompt,seed,model_id}');
  select g.* into v_item from public.image_generations g
  where g.batch_id = p_batch_id
    and g.id::text = lower(batchgen.read_text(p_edit -> 'generation_id', p_path || '.generation_id', 36));
  if not found then
    perform batchgen.refuse('item_not_found', p_path || '.generation_id is not an item of this batch.',
      p_path || '.generation_id', 'Use ids of items of this batch.', null, null, 'PT404');
  end if;
  v_new.generation_id := v_item.id;
  v_new.prompt := coalesce(
    batchgen.read_text(p_edit -> 'prompt', p_path || '.prompt', v_most, v_item.batch_index), v_item.prompt);
  if batchgen.is_blank(v_new.prompt) then
    perform batchgen.refuse('blank_prompt', p_path || '.prompt is empty.', p_path || '.prompt',
      'Describe the picture, or leave the prompt out.', v_item.batch_index);
  end if;
  v_new.negative_prompt := nullif(coalesce(
    batchgen.read_text(p_edit -> 'negative_prompt', p_path || '.negative_prompt', v_most, v_item.batch_index),
    v_item.negative_prompt), '');
  v_new.seed := coalesce(batchgen.read_number(p_edit -> 'seed', p_path || '.seed', -9223372036854775808,
    9223372036854775807, true, v_item.batch_index), v_item.seed);
  v_model := batchgen.read_edited_model(v_item, p_edit, p_path);
  v_new.model_id := v_model.id;
  v_new.model := v_model.name;
  v_new.changed := array_remove(array[
    case when v_new.prompt is distinct from v_item.prompt then 'prompt' end,
    case when v_new.negative_prompt is distinct from nullif(v_item.negative_prompt, '') then 'negative_prompt' end,
    case when v_new.seed is distinct from v_item.seed then 'seed' end,
    case when v_new.model_id is distinct from v_item.model_id then 'model_id' end
  ], null);
  return v_new;
end
$$;
revoke execute on function batchgen.read_edit(uuid, jsonb, text) from public, anon, authenticated, service_role;
comment on function batchgen.read_edit(uuid, jsonb, text) is 'One edit of a retry, merged with its item.';

-- read_edited_model(p_item, p_edit, p_path)
-- The model of an edited item: the edit's, or the item's own, null if it has none. It must be active and able to make
-- the item's size and steps.
create function batchgen.read_edited_model(
  p_item public.image_generations, p_edit jsonb, p_path text
) returns public.models
language plpgsql security definer set search_path = '' as $$
declare
  v_field text := p_path || '.model_id';
  v_named text := batchgen.read_text(p_edit -> 'model_id', v_field, 200, p_item.batch_index);
  v_model public.models;
begin
  if v_named is null and p_item.model_id is null then
    return null;
  end if;
  v_model := batchgen.find_model(coalesce(v_named, p_item.model_id::text), v_field);
  if v_model.id is distinct from p_item.model_id then
    perform batchgen.refuse_unfit('width', p_item.width, coalesce(v_model.min_width, 16),
      coalesce(v_model.max_width, 4096), v_field, p_item.batch_index);
    perform batchgen.refuse_unfit('height', p_item.height, coalesce(v_model.min_height, 16),
      coalesce(v_model.max_height, 4096), v_field, p_item.batch_index);
    perform batchgen.refuse_unfit('steps', p_item.steps, 1, coalesce(v_model.max_steps, 200), v_field,
      p_item.batch_index);
  end if;
  return v_model;
end
$$;
revoke execute on function batchgen.read_edited_model(public.image_generations, jsonb, text)
from public, anon, authenticated, service_role;
comment on function batchgen.read_edited_model(public.image_generations, jsonb, text) is
  'The model of an edited item, checked.';

create function batchgen.refuse_unfit(
  p_name text, p_value integer, p_min integer, p_max integer, p_field text, p_index integer
) returns void
language plpgsql set search_path = '' as $$
begin
  if p_value not between p_min and p_max then
    perform batchgen.refuse('out_of_range',
      format('%s takes %s from %s to %s; the item has %s.', p_field, p_name, p_min, p_max, p_value), p_field,
      'Choose another model, or submit the prompt as a new item with other settings.', p_index,
      jsonb_build_object('min', p_min, 'max', p_max));
  end if;
end
$$;
revoke execute on function batchgen.refuse_unfit(text, integer, integer, integer, text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_unfit(text, integer, integer, integer, text, integer) is
  'Refuses a model that cannot make an item''s size or steps.';

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

-- requeue_items(p_user_id, p_generation_ids, p_edits)
-- Queue failed items again with all retries, within the user's limits and credits. p_edits: those that run with other
-- texts or settings, as new pictures: orders that are still open stay for the sweep, which settles their costs. The
-- caller holds the items' locks.
-- States: failed -> pending. Errors: PT429, PT402.
create function batchgen.requeue_items(
  p_user_id uuid, p_generation_ids uuid[], p_edits batchgen.item_edit[] default '{}'
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is not null then
    perform batchgen.take_from_limits(p_user_id, cardinality(p_generation_ids));
  end if;
  if p_edits <> '{}' then
    perform batchgen.keep_versions(array(select e.generation_id from unnest(p_edits) e));
  end if;
  update public.image_generations g
  set status = 'pending', error_message = null, error_code = null, retry_count = 0, completed_at = null,
    prompt = coalesce(e.prompt, g.prompt),
    negative_prompt = case when e.generation_id is null then g.negative_prompt else e.negative_prompt end,
    seed = coalesce(e.seed, g.seed), model_id = coalesce(e.model_id, g.model_id), model = coalesce(e.model, g.model)
  from unnest(p_generation_ids) r (id) left join unnest(p_edits) e on e.generation_id = r.id
  where g.id = r.id;
  if p_user_id is not null and (select s.credits from batchgen.settings s) then
    perform batchgen.refuse_overdrawn(p_user_id, p_generation_ids);
  end if;
end
$$;
revoke execute on function batchgen.requeue_items(uuid, uuid[], batchgen.item_edit[])
from public, anon, authenticated, service_role;
comment on function batchgen.requeue_items(uuid, uuid[], batchgen.item_edit[]) is
  'Queues failed items again, within their user''s limits and credits.';

-- keep_versions(p_generation_ids)
-- Record items before an edit, and mark their open orders as superseded.
-- Locks: the orders.
create function batchgen.keep_versions(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.item_versions (generation_id, prompt, negative_prompt, seed, model_id, error_code)
  select g.id, g.prompt, g.negative_prompt, g.seed, g.model_id, g.error_code
  from public.image_generations g where g.id = any (p_generation_ids) order by g.batch_index, g.id;
  update batchgen.orders o set is_superseded = true
  where o.generation_id = any (p_generation_ids) and o.ended_at is not null;
end
$$;
revoke execute on function batchgen.keep_versions(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.keep_versions(uuid[]) is
  'Records items before an edit, and marks their open orders as superseded.';

-- retry_failed(p_batch_id, p_ids, p_edits)
-- Queue the failed items among p_ids again: all that may be retried or, if they exceed the limits or credits, none.
-- p_ids null: the items of p_edits. An item that was blocked by policy runs again only if its edit changes it.
-- States: failed -> pending. Errors: PT429, PT402; PT422 for an invalid edit.
create function batchgen.retry_failed(
  p_batch_id uuid, p_ids uuid[], p_edits jsonb
) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_edits batchgen.item_edit[];
  v_ids uuid[];
  v_retried uuid[];
begin
  perform batchgen.lock_batch(p_batch_id);
  v_edits := batchgen.read_edits(p_batch_id, p_ids, p_edits);
  v_ids := coalesce(p_ids, array(select e.generation_id from unnest(v_edits) e));
  v_edits := array(select e from unnest(v_edits) e where e.changed <> '{}');
  v_retried := array(
    select g.id
    from public.image_generations g
    left join unnest(v_edits) e on e.generation_id = g.id
    left join batchgen.failures f on f.generation_id = g.id
    where g.id = any (v_ids) and g.batch_id = p_batch_id and (batchgen.may_be_retried(g)
      or (e.generation_id is not null and g.status = 'failed' and f.code = 'blocked_by_policy'))
  );
  if v_retried <> '{}' then
    perform batchgen.requeue_items(
      (select b.user_id from public.batch_generations b where b.id = p_batch_id), v_retried,
      array(select e from unnest(v_edits) e where e.generation_id = any (v_retried))
    );
  end if;
  return array(
    select row(g.id, g.batch_index, w.code in ('requeued', 'already_waiting'), w.code,
      case when w.code = 'requeued' and p_edits is not null
        then jsonb_build_object('edited', coalesce(e.changed, '{}')) end)::batchgen.item_outcome
    from public.image_generations g
    left join unnest(v_edits) e on e.generation_id = g.id
    left join batchgen.failures f on f.generation_id = g.id
    cross join lateral (
      select case
        when g.id = any (v_retried) then 'requeued'
        when g.status = 'completed' then 'already_completed'
        when g.status = 'failed' then f.code
        when e.generation_id is not null then 'not_failed'
        else 'already_waiting'
      end as code
    ) w
    where g.id = any (v_ids)
  );
end
$$;
revoke execute on function batchgen.retry_failed(uuid, uuid[], jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.retry_failed(uuid, uuid[], jsonb) is 'Queues failed items of a batch again.';

-- retry_failed(p_batch_id, p_generation_ids, p_edits)
-- Queue the failed items of a batch, or the named ones among them, again. p_edits: [{generation_id, prompt,
-- negative_prompt, seed, model_id}] for items that run with other texts or settings, as batchgen.read_edits; without
-- p_generation_ids, only those are retried. Edited items count and cost like new ones.
-- Actions: requeued, with edited if there are edits; already_waiting. Refused: cancelled, blocked_by_policy (unless
-- edited), outcome_unknown, already_completed, not_failed (edited, but waiting or running).
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- States: failed -> pending.
-- Errors: PT401, PT404; PT422 for too many ids or an invalid edit; PT429 if they exceed a limit, PT402 if they cost
-- more credits than the user has.
create function public.retry_failed(
  p_batch_id uuid, p_generation_ids uuid[] default null, p_edits jsonb default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('retry', p_batch_id, p_generation_ids, jsonb_build_object('edits', p_edits))
$$;
revoke execute on function public.retry_failed(uuid, uuid[], jsonb) from public, anon, authenticated, service_role;
grant execute on function public.retry_failed(uuid, uuid[], jsonb) to authenticated, service_role;
comment on function public.retry_failed(uuid, uuid[], jsonb) is
  'Runs the failed items of a batch, all or the named ones, again, as they are or with edits, within the limits for '
  'new items.';

create function batchgen.save_batch_images(p_ids uuid[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_saved uuid[];
begin
  with saved as (
    update public.images i set saved_at = clock_timestamp()
    where i.id in (select p.image_id from batchgen.pictures_of(p_ids) p) and i.saved_at is null
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
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.save_batch_images(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.save_batch_images(uuid[]) is 'Marks the pictures of items as saved.';

-- save_batch_images(p_batch_id, p_generation_ids)
-- Mark the pictures of a batch, or of the named items, as saved.
-- Actions: saved, already_saved, with image_id. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for too many ids.
create function public.save_batch_images(p_batch_id uuid, p_generation_ids uuid[] default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('save', p_batch_id, p_generation_ids)
$$;
revoke execute on function public.save_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.save_batch_images(uuid, uuid[]) to authenticated, service_role;
comment on function public.save_batch_images(uuid, uuid[]) is
  'Marks the pictures of a batch, all or those of the named items, as saved, so that retention keeps them.';

create function batchgen.tag_batch_images(p_ids uuid[], p_names text[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_tag_ids uuid[];
  v_tagged uuid[];
begin
  insert into public.tags (name) select name from unnest(p_names) name order by name on conflict do nothing;
  perform batchgen.count_tags(auth.uid());
  v_tag_ids := array(select t.id from public.tags t where t.name = any (p_names));
  with tagged as (
    insert into public.image_tags (image_id, tag_id)
    select p.image_id, n.tag_id
    from batchgen.pictures_of(p_ids) p cross join unnest(v_tag_ids) n (tag_id)
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
      jsonb_build_object('image_id', p.image_id, 'tags', p_names)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.tag_batch_images(uuid[], text[]) from public, anon, authenticated, service_role;
comment on function batchgen.tag_batch_images(uuid[], text[]) is 'Tags the pictures of items.';

-- tag_batch_images(p_batch_id, p_tags, p_generation_ids)
-- Tag the pictures of a batch, or of the named items.
-- Actions: tagged, already_tagged, with image_id and tags. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for an invalid tag or too many ids; PT429 if the user has created too many tags.
create function public.tag_batch_images(
  p_batch_id uuid, p_tags text[], p_generation_ids uuid[] default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('tag', p_batch_id, p_generation_ids,
    jsonb_build_object('tags', array(select t.name from unnest(p_tags) t (name))))
$$;
revoke execute on function public.tag_batch_images(uuid, text[], uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.tag_batch_images(uuid, text[], uuid[]) to authenticated, service_role;
comment on function public.tag_batch_images(uuid, text[], uuid[]) is
  'Tags the pictures of a batch, all or those of the named items; creates missing tags.';
