begin;
\ir ../setup.psql
\ir ../stored.psql
select plan(4);

:as_owner;
select is(public.delete_batch_images('ba7c0000-0000-4000-8000-000000000001') #>> '{done,0,action}', 'deleted',
  'a picture is deleted');
select is(public.delete_batch_images('ba7c0000-0000-4000-8000-000000000001') #>> '{refused,0,code}', 'still_waiting',
  'what waits would make another one');
:as_admin;
select results_eq($$ select filename from public.images $$, $$ values ('secret.png') $$,
  'nobody else''s picture is deleted');
select results_eq(
  $$ select path from batchgen.storage_deletions $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png') $$,
    'the file is in the outbox'
);

select * from finish();
rollback;
