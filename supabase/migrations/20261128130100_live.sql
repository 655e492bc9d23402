-- Each change of a batch or its items is also broadcast by realtime.send, in milliseconds: one message per batch and
-- statement to the private topic user:<id> of the batch's owner, and one per statement to batchgen:workers for items
-- that wait anew. A message is a hint with ids, statuses and counts, never a prompt.

create sequence batchgen.broadcast_sequence;
revoke all on sequence batchgen.broadcast_sequence from public, anon, authenticated, service_role;
comment on sequence batchgen.broadcast_sequence is
  'Numbers of broadcasts. They grow; two transactions that run at once may commit in the other order.';

-- broadcast_batches(p_changes)
-- Tell the owners of batches that these have changed. p_changes has a key for each batch, with a list of {id, status}.
-- Whatever fails here never fails the write that it reports: realtime.send turns its errors into warnings, and so does
-- this. A lock on realtime.messages, which Realtime takes to create partitions, is waited for only briefly.
-- Caller: triggers, after the totals have been updated.
create function batchgen.broadcast_batches(p_changes jsonb) returns void
language plpgsql security definer set search_path = ''
set lock_timeout = '100ms' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' as $$
begin
  if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null then
    return;
  end if;
  perform realtime.send(jsonb_build_object(
    'batch_id', b.id, 'status', b.status, 'total_count', b.total_count, 'completed_count', b.completed_count,
    'failed_count', b.failed_count, 'items', c.value, 'sequence', nextval('batchgen.broadcast_sequence')
  ), 'changed', 'user:' || b.user_id, true)
  from jsonb_each(p_changes) c join public.batch_generations b on b.id = c.key::uuid
  where b.user_id is not null;
exception when others then
  raise warning 'A change was not broadcast: %', sqlerrm;
end
$$;
revoke execute on function batchgen.broadcast_batches(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.broadcast_batches(jsonb) is 'Tells owners over Realtime that batches have changed.';

-- broadcast(p_event, p_topic, p_payload)
-- Send one private message, like broadcast_batches.
-- Caller: triggers.
create function batchgen.broadcast(p_event text, p_topic text, p_payload jsonb) returns void
language plpgsql security definer set search_path = '' set lock_timeout = '100ms' as $$
begin
  if to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null then
    return;
  end if;
  perform realtime.send(
    p_payload || jsonb_build_object('sequence', nextval('batchgen.broadcast_sequence')), p_event, p_topic, true
  );
exception when others then
  raise warning 'A change was not broadcast: %', sqlerrm;
end
$$;
revoke execute on function batchgen.broadcast(text, text, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.broadcast(text, text, jsonb) is 'Sends one private message over Realtime.';

-- broadcast_waiting(p_batch_ids)
-- Tell the workers of items that wait anew. p_batch_ids has the batch of each item; at most a hundred are named.
-- Caller: triggers.
create function batchgen.broadcast_waiting(p_batch_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.broadcast('waiting', 'batchgen:workers', jsonb_build_object(
    'items', cardinality(p_batch_ids),
    'batch_ids', to_jsonb(array(select distinct b from unnest(p_batch_ids) b limit 100))
  ));
end
$$;
revoke execute on function batchgen.broadcast_waiting(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.broadcast_waiting(uuid[]) is 'Tells workers over Realtime that items wait.';

-- Triggers. They sort after batchgen_after_…, which update the totals. Updates of totals are made by triggers, at a
-- depth above 0, and are part of the items' message.

create function batchgen.broadcast_new_items() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_changes jsonb;
  v_waiting uuid[];
begin
  if not (select s.broadcast_changes from batchgen.settings s) then
    return null;
  end if;
  select jsonb_object_agg(c.batch_id, c.items) into v_changes
  from (
    select n.batch_id, jsonb_agg(jsonb_build_object('id', n.id, 'status', n.status) order by n.batch_index) as items
    from new_rows n where n.batch_id is not null group by n.batch_id
  ) c;
  if v_changes is not null then
    perform batchgen.broadcast_batches(v_changes);
  end if;
  v_waiting := array(select n.batch_id from new_rows n where n.batch_id is not null and n.status = 'pending');
  if v_waiting <> '{}' then
    perform batchgen.broadcast_waiting(v_waiting);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.broadcast_new_items() from public, anon, authenticated, service_role;
comment on function batchgen.broadcast_new_items() is 'Trigger: tells owners and workers of new items.';

create trigger batchgen_broadcast_insert after insert on public.image_generations
referencing new table as new_rows for each statement execute function batchgen.broadcast_new_items();

-- broadcast_changed_items()
-- Tell owners of changed items, and workers of items that wait again: those that the app or an admin retries, and those
-- that a worker hands back. A failed attempt that waits for its delay has a retry_count.
-- It runs at each start and end of an item, so it does itself, in one query, what broadcast_batches does.
create function batchgen.broadcast_changed_items() returns trigger
language plpgsql security definer set search_path = '' set lock_timeout = '100ms' set enable_seqscan = 'off' as $$
declare
  v_waiting uuid[];
begin
  if not (select s.broadcast_changes from batchgen.settings s)
    or to_regprocedure('realtime.send(jsonb, text, text, boolean)') is null
  then
    return null;
  end if;
  perform realtime.send(jsonb_build_object(
    'batch_id', b.id, 'status', b.status, 'total_count', b.total_count, 'completed_count', b.completed_count,
    'failed_count', b.failed_count, 'items', c.items, 'sequence', nextval('batchgen.broadcast_sequence')
  ), 'changed', 'user:' || b.user_id, true)
  from (
    select r.batch_id, coalesce(
      jsonb_agg(jsonb_build_object('id', r.id, 'status', r.status)) filter (where r.id is not null), '[]'
    ) as items
    from (
      select n.batch_id, n.id, n.status from new_rows n
      union all select o.batch_id, null, null from old_rows o -- batches that items left
    ) r
    where r.batch_id is not null group by r.batch_id
  ) c
  join public.batch_generations b on b.id = c.batch_id
  where b.user_id is not null;
  v_waiting := array(
    select n.batch_id from new_rows n
    where n.batch_id is not null and n.status = 'pending' and coalesce(n.retry_count, 0) = 0
  );
  if v_waiting <> '{}' then
    perform batchgen.broadcast_waiting(v_waiting);
  end if;
  return null;
exception when others then
  raise warning 'A change was not broadcast: %', sqlerrm;
  return null;
end
$$;
revoke execute on function batchgen.broadcast_changed_items() from public, anon, authenticated, service_role;
comment on function batchgen.broadcast_changed_items() is 'Trigger: tells owners and workers of changed items.';

create trigger batchgen_broadcast_update after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement
execute function batchgen.broadcast_changed_items();

create function batchgen.broadcast_deleted_items() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_changes jsonb;
begin
  if not (select s.broadcast_changes from batchgen.settings s) then
    return null;
  end if;
  v_changes := (select jsonb_object_agg(o.batch_id, '[]'::jsonb) from old_rows o where o.batch_id is not null);
  if v_changes is not null then
    perform batchgen.broadcast_batches(v_changes);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.broadcast_deleted_items() from public, anon, authenticated, service_role;
comment on function batchgen.broadcast_deleted_items() is 'Trigger: tells owners of batches whose items were deleted.';

create trigger batchgen_broadcast_delete after delete on public.image_generations
referencing old table as old_rows for each statement execute function batchgen.broadcast_deleted_items();

create function batchgen.broadcast_changed_batches() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_changes jsonb;
begin
  if not (select s.broadcast_changes from batchgen.settings s) then
    return null;
  end if;
  v_changes := (select jsonb_object_agg(n.id, '[]'::jsonb) from new_rows n);
  if v_changes is not null then
    perform batchgen.broadcast_batches(v_changes);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.broadcast_changed_batches() from public, anon, authenticated, service_role;
comment on function batchgen.broadcast_changed_batches() is 'Trigger: tells owners of batches that were edited.';

create trigger batchgen_broadcast_update after update on public.batch_generations
referencing new table as new_rows for each statement when (pg_trigger_depth() = 0)
execute function batchgen.broadcast_changed_batches();

create function batchgen.broadcast_deleted_batches() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if (select s.broadcast_changes from batchgen.settings s) then
    perform batchgen.broadcast('changed', 'user:' || o.user_id, jsonb_build_object(
      'batch_id', o.id, 'status', 'deleted', 'items', jsonb_build_array()
    ))
    from old_rows o where o.user_id is not null;
  end if;
  return null;
end
$$;
revoke execute on function batchgen.broadcast_deleted_batches() from public, anon, authenticated, service_role;
comment on function batchgen.broadcast_deleted_batches() is 'Trigger: tells owners of deleted batches.';

create trigger batchgen_broadcast_delete after delete on public.batch_generations
referencing old table as old_rows for each statement execute function batchgen.broadcast_deleted_batches();

-- Who may read broadcasts. Realtime asks the policies on realtime.messages once, when a client joins a private topic.
-- Secret keys bypass them, so workers may join batchgen:workers. The two restrictive policies also hold against
-- policies of the app that allow every topic. They cover broadcasts on these topics alone, no presence.

-- broadcasts_changes()
-- True if changes are broadcast. While they are not, nobody may join user:<id>, so that clients use postgres_changes.
-- Caller: a policy, as the user who joins.
create function batchgen_api.broadcasts_changes() returns boolean
language sql stable security definer set search_path = '' as $$
  select s.broadcast_changes from batchgen.settings s
$$;
revoke execute on function batchgen_api.broadcasts_changes() from public, anon, authenticated, service_role;
grant execute on function batchgen_api.broadcasts_changes() to authenticated;
comment on function batchgen_api.broadcasts_changes() is 'True if changes of batches are broadcast.';

-- protect_topics()
-- Create the policies that realtime.messages lacks, if that table exists.
-- Caller: the migration; worker_start, for a project that gets Realtime later.
-- Locks: realtime.messages, only while it creates a policy.
-- Errors: none; what the caller may not create is a warning.
create function batchgen.protect_topics() returns void
language plpgsql security definer set search_path = '' set lock_timeout = '1s' as $$
declare
  v_policies name[];
begin
  if not exists (
    select from pg_catalog.pg_class c
    where c.relnamespace::regnamespace::text = 'realtime' and c.relname = 'messages' and c.relrowsecurity
  ) then
    return;
  end if;
  v_policies := array(
    select p.policyname from pg_catalog.pg_policies p where p.schemaname = 'realtime' and p.tablename = 'messages'
  );
  if 'batchgen: owners hear of their batches' <> all (v_policies) then
    create policy "batchgen: owners hear of their batches" on realtime.messages for select to authenticated
      using (
        extension = 'broadcast' and topic = 'user:' || (select auth.uid())::text
        and (select batchgen_api.broadcasts_changes())
      );
  end if;
  if 'batchgen: nobody hears of another user''s batches' <> all (v_policies) then
    create policy "batchgen: nobody hears of another user's batches" on realtime.messages
      as restrictive for select to anon, authenticated using (
        extension <> 'broadcast' or topic !~ '^(user:[0-9a-f-]{36}|batchgen:workers)$'
        or topic = 'user:' || (select auth.uid())::text
      );
  end if;
  if 'batchgen: nobody sends for the database' <> all (v_policies) then
    create policy "batchgen: nobody sends for the database" on realtime.messages
      as restrictive for insert to anon, authenticated
      with check (extension <> 'broadcast' or topic !~ '^(user:[0-9a-f-]{36}|batchgen:workers)$');
  end if;
exception
  when duplicate_object then null; -- another session has just created it
  when insufficient_privilege or lock_not_available then
    raise warning using
      message = format('%I could not create the policies on realtime.messages: %s', current_user, sqlerrm),
      hint = 'Run as the owner of realtime.messages the statements of batchgen.protect_topics().';
end
$$;
revoke execute on function batchgen.protect_topics() from public, anon, authenticated, service_role;
comment on function batchgen.protect_topics() is 'Creates the policies on realtime.messages that are missing.';

select batchgen.protect_topics();
