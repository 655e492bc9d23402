begin;
\ir ../setup.psql
insert into batchgen.storage_deletions (path) values ('aaaaaaaa-0000-4000-8000-000000000001/gone.png');
insert into storage.objects (bucket_id, name) select bucket_id, path from batchgen.storage_deletions;
select plan(4);

:as_anon;
select throws_ok($$ select public.take_storage_deletions_as_json('w', 5, 60) $$, '42501', null, 'anon takes nothing');
:as_owner;
select throws_ok($$ select public.take_storage_deletions_as_json('w', 5, 60) $$, '42501', null, 'a user takes nothing');
:as_service;
select is(
  public.take_storage_deletions_as_json('w', 5, 60) #>> '{deletions,0,path}',
    'aaaaaaaa-0000-4000-8000-000000000001/gone.png', 'a file is taken'
);
select is(public.take_storage_deletions_as_json('w', 5, 60), '{"deletions": []}', 'once');

select * from finish();
rollback;
