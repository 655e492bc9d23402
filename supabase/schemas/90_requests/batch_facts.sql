-- reopened_at(p_batch_id)
-- When items of an ended batch were last queued again; null if never.
-- Caller: batch_facts, for batches that it can see.
create function batchgen_api.reopened_at(p_batch_id uuid) returns timestamptz
language sql stable security definer set search_path = '' as $$
  select r.reopened_at from batchgen.reopened_batches r where r.batch_id = p_batch_id
$$;
revoke execute on function batchgen_api.reopened_at(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.reopened_at(uuid) to authenticated, service_role;
comment on function batchgen_api.reopened_at(uuid) is 'When items of an ended batch were last queued again.';

-- batch_facts(p_batch_ids)
-- [{id, cancelled, deleted, reopened_at}, …] for those of the first 1,000 ids that the caller may see. cancelled:
-- number of failed items that somebody cancelled; deleted: number of completed items without a picture.
-- Caller: authenticated, service_role; each sees what row level security shows.
create function public.batch_facts(p_batch_ids uuid[]) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', b.id,
      'cancelled', (
        select count(*) from public.image_generations g
        where g.batch_id = b.id and g.status = 'failed' and g.error_code = 'cancelled'
      ),
      'deleted', (
        select count(*) from public.image_generations g
        where g.batch_id = b.id and g.status = 'completed'
          and not exists (select from public.images i where i.generation_id = g.id)
      ),
      'reopened_at', batchgen_api.reopened_at(b.id)
    ))
    from public.batch_generations b where b.id = any (p_batch_ids[:1000])
  ), '[]')
$$;
revoke execute on function public.batch_facts(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.batch_facts(uuid[]) to authenticated, service_role;
comment on function public.batch_facts(uuid[]) is
  'For each batch: cancelled items, deleted pictures, and when items were queued again.';
