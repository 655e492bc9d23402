begin;
\ir ../setup.psql
-- A mark for galleries of the app; the database shows a public picture to nobody else either.
update public.images set is_public = true;
select plan(5);

:as_owner;
select results_eq($$ select filename from public.images $$, $$ values ('fox.png') $$,
  'the owner reads her picture and no other');
:as_other;
select results_eq($$ select filename from public.images $$, $$ values ('secret.png') $$,
  'somebody else does not read it');
:as_no_user;
select is_empty($$ select 1 from public.images $$, 'a token without a user reads nothing');
:as_anon;
select throws_ok($$ select 1 from public.images $$, '42501', null, 'anon is refused');
:as_service;
select is((select count(*)::integer from public.images), 2, 'the worker''s role reads all');

select * from finish();
rollback;
