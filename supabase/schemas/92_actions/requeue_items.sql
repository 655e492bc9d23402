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
