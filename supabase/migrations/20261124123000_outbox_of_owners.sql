-- Into the outbox go only files that Storage has, a path counts as an item's only in its owner's folder, and the prompts of
-- single generations that users insert are no longer than those of a batch. Else the functions are those of
-- storage_outbox.sql and app_writes_items.sql.

comment on column batchgen.storage_deletions.generation_id is
  'Whose picture the path is made for, where it lies in the folder of that item''s owner ({user_id}/{generation_id}.{format}); empty for other paths. The item may be gone.';

-- batchgen.files_in_storage(p_bucket_id, p_paths): those paths at which Storage has a file. All of them where there is no
-- Storage, or where its table is not for the owner of this function to read whole.
create function batchgen.files_in_storage(p_bucket_id text, p_paths text[]) returns text[]
language plpgsql security definer set search_path = '' as $$
declare
  v_found text[];
begin
  -- By the catalog, since to_regclass is an error where the schema may not be used.
  if not exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'storage' and c.relname = 'objects' and has_schema_privilege(n.oid, 'usage')
      and has_table_privilege(c.oid, 'select') and not row_security_active(c.oid)
  ) then
    return p_paths;
  end if;
  -- As a text, so that this function can be made and checked where the table is not.
  execute 'select array(select o.name from storage.objects o where o.bucket_id = $1 and o.name = any ($2))'
  into v_found using p_bucket_id, p_paths;
  return v_found;
end
$$;
revoke execute on function batchgen.files_in_storage(text, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.files_in_storage(text, text[]) is 'Those of the paths at which Storage has a file, as far as its table can be read.';

-- Puts the files of deleted rows into the outbox, due after as many seconds as the trigger says. A path outside the
-- owner's folder was never made by us, and is not ours to delete; one without a file is a user's invention, or was
-- removed by the app just before its row.
create or replace function batchgen.after_images_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.storage_deletions as d (path, due_at)
  select f.path, clock_timestamp() + make_interval(secs => tg_argv[0]::double precision)
  from unnest(batchgen.files_in_storage('generated-images', array(
    select distinct o.storage_path from old_rows o where batchgen.is_in_folder(o.user_id, o.storage_path)
  ))) f (path)
  on conflict on constraint a_file_is_deleted_once do update
    -- Whoever has it leased may have deleted the file that was there before.
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null;
  return null;
end
$$;
revoke execute on function batchgen.after_images_deleted() from public, anon, authenticated, service_role;

-- batchgen.keep_files(p_generation_ids): items that are run again write to the same paths, so nobody may delete those now.
-- It waits for whoever takes such a deletion just now, and whoever takes one from here on sees the item's queue row and
-- leaves it until the item has ended; then a path that a row of images names is dropped. A deletion that is leased cannot
-- be called back: the item waits for its end (files_deleted_until). What others delete in folders of their own, whatever
-- its name, is not waited for.
create or replace function batchgen.keep_files(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from batchgen.storage_deletions d
  where d.generation_id = any (p_generation_ids)
    and batchgen.is_in_folder((select g.user_id from public.image_generations g where g.id = d.generation_id), d.path)
  for no key update;
end
$$;
revoke execute on function batchgen.keep_files(uuid[]) from public, anon, authenticated, service_role;

create or replace function batchgen.files_deleted_until(p_generation_id uuid) returns timestamptz
language sql security definer set search_path = '' as $$
  select max(d.lease_expires_at) from batchgen.storage_deletions d
  where d.generation_id = p_generation_id and d.lease_expires_at > clock_timestamp()
    and batchgen.is_in_folder((select g.user_id from public.image_generations g where g.id = p_generation_id), d.path)
$$;
revoke execute on function batchgen.files_deleted_until(uuid) from public, anon, authenticated, service_role;

-- take_storage_deletions(p_worker, p_limit, p_lease_seconds)
-- Leases up to p_limit files to be deleted, oldest first. Delete them within the lease, then call end_storage_deletions.
-- Never a file that a row of images names or that an item which waits or runs will write. Caller: service_role.
create or replace function public.take_storage_deletions(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (deletion_id bigint, lease_id uuid, bucket_id text, path text)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_ids bigint[] := '{}';
  v_more bigint[];
  v_there text[];
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 1000', 'The Storage API deletes up to 1000 files at once.');
  end if;
  while cardinality(v_ids) < p_limit loop
    -- From here on these rows are locked: an item that enters the queue meanwhile waits, and then sees the lease.
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
    -- Where a row of images names the file it stays; and there may be none, since entries are made on suspicion, too.
    v_there := array(
      select b.bucket_id || ' ' || unnest(batchgen.files_in_storage(b.bucket_id, b.paths))
      from (
        select d.bucket_id, array_agg(d.path) as paths from batchgen.storage_deletions d
        where d.id = any (v_more) group by d.bucket_id
      ) b
    );
    delete from batchgen.storage_deletions d
    where d.id = any (v_more)
      and (exists (select from public.images i where i.storage_path = d.path) or d.bucket_id || ' ' || d.path <> all (v_there));
    v_ids := v_ids || array(select d.id from batchgen.storage_deletions d where d.id = any (v_more));
  end loop;
  return query
  update batchgen.storage_deletions d
  set lease_id = gen_random_uuid(), worker = p_worker, attempts = least(d.attempts, 1000000) + 1,
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
    due_at = clock_timestamp() + make_interval(secs => p_lease_seconds + batchgen.deletion_backoff_seconds(d.attempts + 1))
  where d.id = any (v_ids)
  returning d.id, d.lease_id, d.bucket_id, d.path;
end
$$;
revoke execute on function public.take_storage_deletions(text, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.take_storage_deletions(text, integer, integer) to service_role;

-- batchgen.check_prompt(p_text, p_field): a prompt that comes by itself is no longer than one of a batch.
create function batchgen.check_prompt(p_text text, p_field text) returns void
language plpgsql set search_path = '' as $$
declare
  v_most integer := (select s.max_prompt_characters from batchgen.settings s);
begin
  if length(p_text) > v_most then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field, length(p_text), v_most), p_field,
      format('Shorten it to %s characters.', v_most), null, to_jsonb(v_most));
  end if;
end
$$;
revoke execute on function batchgen.check_prompt(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.check_prompt(text, text) is 'Refuses a prompt longer than settings.max_prompt_characters.';

-- A single generation: the user's own, waiting, of prompts that a batch could have, and with nothing in it that only a
-- run may write.
create or replace function batchgen.before_item_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(new.user_id);
  if new.batch_id is not null or new.batch_index is not null then
    perform batchgen.refuse('not_writable', 'Items of a batch are not inserted one by one.', 'batch_id', 'Submit the batch as a whole.',
      null, null, 'PT403');
  end if;
  if new.status is distinct from 'pending' then
    perform batchgen.refuse('not_allowed', 'A new generation is pending.', 'status', 'Send pending, or leave it out.');
  end if;
  perform batchgen.check_prompt(new.prompt, 'prompt');
  perform batchgen.check_prompt(new.negative_prompt, 'negative_prompt');
  perform batchgen.refuse_changes(
    '{"retry_count": 0, "priority": 0}',
    jsonb_strip_nulls(jsonb_build_object(
      'retry_count', new.retry_count, 'priority', new.priority, 'error_message', new.error_message,
      'replicate_prediction_id', new.replicate_prediction_id, 'generation_time_seconds', new.generation_time_seconds,
      'completed_at', new.completed_at, 'error_code', new.error_code, 'started_at', new.started_at
    )),
    '{}'
  );
  -- Whatever the caller's clock says.
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_item_inserted_by_app() from public, anon, authenticated, service_role;
