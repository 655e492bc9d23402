begin;
\ir ../setup.psql
\ir ../stored.psql
insert into storage.objects (bucket_id, name)
values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/small.webp');
update public.images set thumbnail_path = user_id || '/small.webp' where filename = 'fox.png';
select plan(2);

:as_owner;
select lives_ok($$ delete from public.images where filename = 'fox.png' $$, 'a user deletes a row');
:as_admin;
select results_eq(
  $$ select path, due_at > now() + interval '9 minutes' from batchgen.storage_deletions order by path $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png', true),
    ('aaaaaaaa-0000-4000-8000-000000000001/small.webp', false) $$,
  'its picture may be stored again meanwhile; its thumbnail goes at once'
);

select * from finish();
rollback;
