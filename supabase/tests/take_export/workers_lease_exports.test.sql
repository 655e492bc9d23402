begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(13);

create function pg_temp.taken(p_worker text) returns text language sql as $$
  select public.take_export(p_worker, 60) #>> '{exports,0,export_id}'
$$;

:as_anon;
select throws_ok($$ select public.take_export('w', 60) $$, '42501', null, 'anon takes nothing');
:as_owner;
select throws_ok($$ select public.take_export('w', 60) $$, '42501', null, 'a user takes nothing');
:as_service;
select throws_ok($$ select public.take_export('', 60) $$, 'PT422', null, 'a worker has a name');
:as_admin;
select is(pg_temp.taken('x'), null, 'what is leased is not taken');
update batchgen.exports set files = array[:path], lease_expires_at = now() - interval '1 second';
select is(pg_temp.taken('x'), :export, 'after its lease an export is taken again');
select is((select e.attempts from batchgen.exports e), 2, 'which is an attempt');
select cmp_ok((select d.due_at from batchgen.storage_deletions d where d.path = :path), '>', now(),
  'the files of the lost attempt go a little later');
update batchgen.exports set attempts = 3, lease_expires_at = now() - interval '1 second';
select is(pg_temp.taken('x'), null, 'three attempts are enough');
select is((select e.error_code from batchgen.exports e where e.status = 'failed'), 'crashed', 'then it has failed');

insert into batchgen.exports (id, user_id, batch_ids, planned_bytes, due_at) values
  ('e0000000-0000-4000-8000-000000000002', 'aaaaaaaa-0000-4000-8000-000000000001',
    '{ba7c0000-0000-4000-8000-000000000001}', 1, now() - interval '3 minutes'),
  ('e0000000-0000-4000-8000-000000000003', 'aaaaaaaa-0000-4000-8000-000000000001',
    '{ba7c0000-0000-4000-8000-000000000003}', 1, now() - interval '2 minutes'),
  ('e0000000-0000-4000-8000-000000000004', 'bbbbbbbb-0000-4000-8000-000000000002',
    '{ba7c0000-0000-4000-8000-000000000002}', 1, now() - interval '1 minute'),
  ('e0000000-0000-4000-8000-000000000005', 'bbbbbbbb-0000-4000-8000-000000000002',
    '{ba7c0000-0000-4000-8000-000000000005}', 1, now() + interval '1 minute');
select is(pg_temp.taken('x'), 'e0000000-0000-4000-8000-000000000002', 'the export that is due longest');
select is(pg_temp.taken('y'), 'e0000000-0000-4000-8000-000000000004', 'then one of a user who has none');
select is(pg_temp.taken('z'), 'e0000000-0000-4000-8000-000000000003', 'then the rest');
select is(pg_temp.taken('z'), null, 'and none before its time');

select * from finish();
rollback;
