begin;
\ir ../setup.psql
select plan(9);

insert into storage.objects (bucket_id, name) values
  ('batchgen-exports', 'aaaaaaaa-0000-4000-8000-000000000001/e/a.zip');
select is((select b.public from storage.buckets b where b.id = 'batchgen-exports'), false, 'the bucket is private');
:as_owner;
select results_eq($$ select name from storage.objects where bucket_id = 'batchgen-exports' $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/e/a.zip') $$, 'the owner reads their own');
:as_admin;
create policy "the app's" on storage.objects for all to anon, authenticated using (true) with check (true);
:as_anon;
select is_empty($$ select name from storage.objects where bucket_id = 'batchgen-exports' $$, 'anon reads nothing');
:as_other;
select is_empty($$ select name from storage.objects where bucket_id = 'batchgen-exports' $$,
  'somebody else reads nothing, whatever the app allows');
select throws_ok(
  $$ insert into storage.objects (bucket_id, name)
    values ('batchgen-exports', 'bbbbbbbb-0000-4000-8000-000000000002/e/a.zip') $$,
  '42501', null, 'nobody stores an export, in their own folder either');
select is_empty($$ update storage.objects set metadata = '{}' where bucket_id = 'batchgen-exports' returning name $$,
  'or replaces one of others');
:as_owner;
select results_eq($$ select name from storage.objects where bucket_id = 'batchgen-exports' $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/e/a.zip') $$, 'the owner still reads their own');
select throws_ok($$ update storage.objects set metadata = '{}' where bucket_id = 'batchgen-exports' $$, '42501', null,
  'and does not replace it');
select throws_ok($$ insert into storage.objects (bucket_id, name)
    values ('batchgen-exports', 'aaaaaaaa-0000-4000-8000-000000000001/e/b.zip') $$,
  '42501', null, 'or add to it');

select * from finish();
rollback;
