begin;
\ir ../setup.psql
select plan(5);

:as_owner;
select results_eq($$ select name from public.batch_generations $$, $$ values ('hers') $$,
  'the owner reads her batch and no other');
:as_other;
select results_eq($$ select name from public.batch_generations $$, $$ values ('theirs') $$,
  'somebody else does not read it');
:as_no_user;
select is_empty($$ select 1 from public.batch_generations $$, 'a token without a user reads nothing');
:as_anon;
select throws_ok($$ select 1 from public.batch_generations $$, '42501', null, 'anon is refused');
:as_service;
select is((select count(*)::integer from public.batch_generations), 2, 'the worker''s role reads all');

select * from finish();
rollback;
