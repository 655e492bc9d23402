-- Realtime inserts a probe into realtime.messages and asks, as the client's role, whether it can be read.
begin;
\ir ../setup.psql
select plan(13);

create function pg_temp.probe(topic text, extension text) returns void language sql as $$
  insert into realtime.messages (topic, extension, private, event) values (topic, extension, true, 'probe')
$$;
select pg_temp.probe('user:aaaaaaaa-0000-4000-8000-000000000001', 'broadcast');
select pg_temp.probe('user:aaaaaaaa-0000-4000-8000-000000000001', 'presence');
select pg_temp.probe('user:bbbbbbbb-0000-4000-8000-000000000002', 'broadcast');
select pg_temp.probe('batchgen:workers', 'broadcast');
select pg_temp.probe('room', 'broadcast');

:as_owner;
select bag_eq($$ select topic, extension from realtime.messages where event = 'probe' $$,
  $$ values ('user:aaaaaaaa-0000-4000-8000-000000000001', 'broadcast') $$, 'an owner hears on her own topic alone');
:as_no_user;
select is_empty($$ select from realtime.messages $$, 'a token without a user hears nothing');
:as_anon;
select is_empty($$ select from realtime.messages $$, 'anon hears nothing');
:as_service;
select is((select count(*)::integer from realtime.messages where event = 'probe'), 5, 'a secret key hears all topics');
:as_owner;
select throws_ok($$ select pg_temp.probe('user:aaaaaaaa-0000-4000-8000-000000000001', 'broadcast') $$, '42501', null,
  'a user sends nothing on her own topic');
select throws_ok($$ select pg_temp.probe('room', 'broadcast') $$, '42501', null, 'a user sends nothing elsewhere');

-- Policies of an app that allow every topic.
:as_admin;
create policy "app: all" on realtime.messages for all to public using (true) with check (true);
:as_owner;
select bag_eq($$ select topic, extension from realtime.messages where event = 'probe' $$,
  $$ values ('user:aaaaaaaa-0000-4000-8000-000000000001', 'broadcast'),
    ('user:aaaaaaaa-0000-4000-8000-000000000001', 'presence'), ('room', 'broadcast') $$,
  'a policy for all topics shows no stranger''s batches');
select throws_ok($$ select pg_temp.probe('user:bbbbbbbb-0000-4000-8000-000000000002', 'broadcast') $$, '42501', null,
  'a policy for all topics lets nobody send on a topic of batches');
select throws_ok($$ select pg_temp.probe('batchgen:workers', 'broadcast') $$, '42501', null,
  'nobody wakes the workers');
select lives_ok($$ select pg_temp.probe('room', 'broadcast') $$, 'the app''s topics are its own');
:as_anon;
select bag_eq($$ select topic, extension from realtime.messages where event = 'probe' $$,
  $$ values ('user:aaaaaaaa-0000-4000-8000-000000000001', 'presence'), ('room', 'broadcast'), ('room', 'broadcast') $$,
  'a policy for all topics shows anon no batches');

-- While nothing is broadcast, nobody joins, so that clients use postgres_changes.
:as_admin;
drop policy "app: all" on realtime.messages;
update batchgen.settings set broadcast_changes = false;
:as_owner;
select is_empty($$ select from realtime.messages $$, 'without broadcasts an owner hears nothing');

-- A project that gets Realtime later gets the policies when a worker starts.
:as_admin;
do $$
declare
  v_policy record;
begin
  for v_policy in select policyname as name from pg_policies where schemaname = 'realtime' loop
    execute format('drop policy %I on realtime.messages', v_policy.name);
  end loop;
end
$$;
:as_service;
select public.worker_start() is not null as started \gset
:as_admin;
select is((select count(*)::integer from pg_policies where tablename = 'messages' and policyname like 'batchgen: %'), 3,
  'a worker''s start creates missing policies');

select * from finish();
rollback;
