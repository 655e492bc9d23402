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
