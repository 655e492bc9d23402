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
