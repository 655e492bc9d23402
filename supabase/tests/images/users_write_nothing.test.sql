begin;
\ir ../setup.psql
select plan(7);

:as_owner;
select throws_ok($$ insert into public.images (user_id, filename, storage_path, prompt) values ('aaaaaaaa-0000-4000-8000-000000000001', 'f', 'p', 'p') $$, '42501', null, 'a user inserts nothing');
select throws_ok($$ update public.images set prompt = 'forged' $$, '42501', null, 'a user changes nothing');
select throws_ok($$ delete from public.images $$, '42501', null, 'a user deletes nothing');
select throws_ok($$ truncate public.images cascade $$, '42501', null, 'a user truncates nothing');
:as_anon;
select throws_ok($$ update public.images set prompt = 'forged' $$, '42501', null, 'anon changes nothing');
select throws_ok($$ delete from public.images $$, '42501', null, 'anon deletes nothing');
:as_service;
select throws_ok($$ truncate public.images cascade $$, '42501', null, 'not even the worker''s role truncates');

select * from finish();
rollback;
