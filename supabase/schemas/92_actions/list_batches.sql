-- is_in_trash(p_batch_id)
-- Caller: list_batches, for batches that it can see.
create function batchgen_api.is_in_trash(p_batch_id uuid) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select from batchgen.trashed_batches t where t.batch_id = p_batch_id)
$$;
revoke execute on function batchgen_api.is_in_trash(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.is_in_trash(uuid) to authenticated, service_role;
comment on function batchgen_api.is_in_trash(uuid) is 'True if a batch is in the trash.';

-- list_batches(p_limit, p_user_id)
-- The newest batches that are not in the trash, newest first: at most 1,000 rows of batch_generations, of p_user_id if
-- given.
-- Caller: authenticated, service_role; each sees what row level security shows.
create function public.list_batches(
  p_limit integer default 20, p_user_id uuid default null
) returns setof public.batch_generations
language sql stable set search_path = '' as $$
  select b.* from public.batch_generations b
  where (p_user_id is null or b.user_id = p_user_id) and not batchgen_api.is_in_trash(b.id)
  order by b.created_at desc, b.id desc limit least(greatest(p_limit, 0), 1000)
$$;
revoke execute on function public.list_batches(integer, uuid) from public, anon, authenticated, service_role;
grant execute on function public.list_batches(integer, uuid) to authenticated, service_role;
comment on function public.list_batches(integer, uuid) is 'The newest batches that are not in the trash.';
