begin;
\ir ../setup.psql
select plan(7);

:as_owner;
select throws_ok($$ insert into public.image_tags (image_id) values ('1a6e0000-0000-4000-8000-000000000001') $$, '42501', null, 'a user inserts nothing');
select throws_ok($$ update public.image_tags set added_at = now() $$, '42501', null, 'a user changes nothing');
select throws_ok($$ delete from public.image_tags $$, '42501', null, 'a user deletes nothing');
select throws_ok($$ truncate public.image_tags cascade $$, '42501', null, 'a user truncates nothing');
:as_anon;
select throws_ok($$ update public.image_tags set added_at = now() $$, '42501', null, 'anon changes nothing');
select throws_ok($$ delete from public.image_tags $$, '42501', null, 'anon deletes nothing');
:as_service;
select throws_ok($$ truncate public.image_tags cascade $$, '42501', null, 'not even the worker''s role truncates');

select * from finish();
rollback;
