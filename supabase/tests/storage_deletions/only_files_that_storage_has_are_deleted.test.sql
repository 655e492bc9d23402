begin;
\ir ../setup.psql
\ir ../stored.psql
insert into storage.buckets (id, name) values ('other-bucket', 'other-bucket');
insert into storage.objects (bucket_id, name)
  values ('other-bucket', 'aaaaaaaa-0000-4000-8000-000000000001/elsewhere.png');
select plan(3);

:as_owner;
select lives_ok(
  $$ insert into public.images (user_id, filename, storage_path, prompt)
     select 'aaaaaaaa-0000-4000-8000-000000000001', 'f', 'aaaaaaaa-0000-4000-8000-000000000001/' || name || '.png', 'p'
     from unnest('{invented,made-up,elsewhere}'::text[]) n (name) $$,
  'a user writes rows with paths of no file'
);
select lives_ok($$ delete from public.images $$, 'a user deletes all of her rows');
:as_admin;
select results_eq(
  $$ select path from batchgen.storage_deletions $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png') $$,
  'only a file that is there, in our bucket, goes into the outbox'
);

select * from finish();
rollback;
