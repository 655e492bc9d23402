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
