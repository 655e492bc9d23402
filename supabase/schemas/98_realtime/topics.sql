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
