begin;
\ir ../setup.psql
\ir ../outbox.psql
insert into storage.objects (bucket_id, name)
  values ('generated-images', 'bbbbbbbb-0000-4000-8000-000000000002/secret.png');
insert into batchgen.storage_deletions (path) values
  ('bbbbbbbb-0000-4000-8000-000000000002/secret.png'), ('bbbbbbbb-0000-4000-8000-000000000002/nothing-there.png');
select plan(7);

:as_anon;
select throws_ok($$ select public.take_storage_deletions('w', 10, 60) $$, '42501', null, 'anon takes nothing');
:as_owner;
select throws_ok($$ select public.take_storage_deletions('w', 10, 60) $$, '42501', null, 'a user takes nothing');
:as_service;
select throws_ok($$ select public.take_storage_deletions('', 10, 60) $$, 'PT422', null, 'a worker has a name');
select throws_ok($$ select public.take_storage_deletions('w', 1001, 60) $$, 'PT422', null,
  'at most as many as Storage deletes at once');
select results_eq(
  $$ select bucket_id, path from public.take_storage_deletions('w', 10, 60) $$,
  $$ values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/gone.png') $$,
  'neither what is leased nor what a row names, nor what Storage has no file for'
);
select is_empty($$ select public.take_storage_deletions('x', 10, 60) $$, 'once');
:as_admin;
select is((select count(*)::integer from batchgen.storage_deletions), 2, 'a file that a row names is kept');

select * from finish();
rollback;
