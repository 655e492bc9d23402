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
