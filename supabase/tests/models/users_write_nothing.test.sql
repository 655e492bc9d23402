begin;
\ir ../setup.psql
select plan(7);

:as_owner;
select throws_ok($$ insert into public.models (name, display_name, replicate_id) values ('mine', 'Mine', 'one/mine') $$,
  '42501', null, 'a user inserts nothing');
select throws_ok($$ update public.models set is_default = true $$, '42501', null, 'a user changes nothing');
select throws_ok($$ delete from public.models $$, '42501', null, 'a user deletes nothing');
select throws_ok($$ truncate public.models cascade $$, '42501', null, 'a user truncates nothing');
:as_anon;
select throws_ok($$ update public.models set is_default = true $$, '42501', null, 'anon changes nothing');
select throws_ok($$ delete from public.models $$, '42501', null, 'anon deletes nothing');
:as_service;
select throws_ok($$ truncate public.models cascade $$, '42501', null, 'not even the worker''s role truncates');

select * from finish();
rollback;
