-- deletion_backoff_seconds(p_attempts)
-- Seconds until the next attempt: 0 after the first, whose worker may just have died; then 30 s, doubling to 1 h.
create function batchgen.deletion_backoff_seconds(p_attempts integer) returns double precision
language sql immutable set search_path = '' as $$
  select case when p_attempts <= 1 then 0 else least(3600, 30 * 2.0 ^ least(p_attempts - 2, 20)) end
$$;
revoke execute on function batchgen.deletion_backoff_seconds(integer) from public, anon, authenticated, service_role;
comment on function batchgen.deletion_backoff_seconds(integer) is 'Seconds until the next attempt to delete a file.';

-- take_storage_deletions(p_worker, p_limit, p_lease_seconds)
-- Lease up to p_limit files to delete, oldest first. Delete them within the lease, then call end_storage_deletions.
-- Never returns a file that a row of images names, or that a waiting or running item will write.
-- Caller: service_role.
create function public.take_storage_deletions(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (deletion_id bigint, lease_id uuid, bucket_id text, path text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_ids bigint[] := '{}';
  v_more bigint[];
  v_existing text[];
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 1000',
      'The Storage API deletes up to 1000 files at once.');
  end if;
  while cardinality(v_ids) < p_limit loop
    -- These rows are locked from here on: an item that enters the queue meanwhile waits, and then sees the lease.
    v_more := array(
      select d.id from batchgen.storage_deletions d
      where d.due_at <= clock_timestamp() and (d.lease_id is null or d.lease_expires_at <= clock_timestamp())
        and d.id <> all (v_ids) and not exists (
          select from batchgen.queue q
          where q.generation_id = d.generation_id and batchgen.is_in_folder(q.user_id, d.path)
        )
      order by d.due_at, d.id limit p_limit - cardinality(v_ids) for update skip locked
    );
    exit when v_more = '{}';
    -- A file stays if a row of images names it; and a file may not exist, since some rows are made on suspicion.
    v_existing := array(
      select b.bucket_id || ' ' || unnest(batchgen.files_in_storage(b.bucket_id, b.paths))
      from (
        select d.bucket_id, array_agg(d.path) as paths from batchgen.storage_deletions d
        where d.id = any (v_more) group by d.bucket_id
      ) b
    );
    delete from batchgen.storage_deletions d
    where d.id = any (v_more)
      and (
        exists (select from public.images i where i.storage_path = d.path)
        or exists (select from public.images i where i.thumbnail_path = d.path)
        or d.bucket_id || ' ' || d.path <> all (v_existing)
      );
    v_ids := v_ids || array(select d.id from batchgen.storage_deletions d where d.id = any (v_more));
  end loop;
  return query
  update batchgen.storage_deletions d
  set lease_id = gen_random_uuid(), worker = p_worker, attempts = least(d.attempts, 1000000) + 1,
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
    due_at = clock_timestamp()
      + make_interval(secs => p_lease_seconds + batchgen.deletion_backoff_seconds(d.attempts + 1))
  where d.id = any (v_ids)
  returning d.id, d.lease_id, d.bucket_id, d.path;
end
$$;
revoke execute on function public.take_storage_deletions(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_storage_deletions(text, integer, integer) to service_role;
comment on function public.take_storage_deletions(text, integer, integer) is
  'For workers: leases files to delete through the Storage API.';

-- take_storage_deletions_as_json(p_worker, p_limit, p_lease_seconds)
-- take_storage_deletions as {deletions: [{deletion_id, lease_id, bucket_id, path}]}, one JSON value.
-- Caller: service_role.
-- Errors: as take_storage_deletions.
create function public.take_storage_deletions_as_json(
  p_worker text, p_limit integer, p_lease_seconds integer
) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('deletions', coalesce(jsonb_agg(to_jsonb(d)), '[]'))
  from public.take_storage_deletions(p_worker, p_limit, p_lease_seconds) d
$$;
revoke execute on function public.take_storage_deletions_as_json(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_storage_deletions_as_json(text, integer, integer) to service_role;
comment on function public.take_storage_deletions_as_json(text, integer, integer) is
  'For workers: take_storage_deletions, as {deletions: [{deletion_id, lease_id, bucket_id, path}]}.';
