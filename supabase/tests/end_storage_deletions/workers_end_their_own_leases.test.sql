begin;
\ir ../setup.psql
\ir ../outbox.psql
select plan(5);

:as_anon;
select throws_ok($$ select public.end_storage_deletions('w', '{1ea5e000-0000-4000-8000-000000000002}') $$, '42501',
  null, 'anon ends nothing');
:as_owner;
select throws_ok($$ select public.end_storage_deletions('w', '{1ea5e000-0000-4000-8000-000000000002}') $$, '42501',
  null, 'a user ends nothing');
:as_service;
select is(public.end_storage_deletions('x', '{1ea5e000-0000-4000-8000-000000000002}'), 0,
  'another worker ends nothing');
select is(public.end_storage_deletions('w', '{1ea5e000-0000-4000-8000-000000000002}'), 1, 'a worker ends its own');
select is(public.end_storage_deletions('w', '{1ea5e000-0000-4000-8000-000000000002}'), 0, 'once');

select * from finish();
rollback;
