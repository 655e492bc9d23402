begin;
\ir ../setup.psql
select plan(3);

:as_other;
select results_eq($$ select name from public.tags $$, $$ values ('animals') $$,
  'a tag is a word, shared by all who are signed in');
:as_anon;
select throws_ok($$ select 1 from public.tags $$, '42501', null, 'anon is refused');
:as_service;
select is((select count(*)::integer from public.tags), 1, 'the worker''s role reads all');

select * from finish();
rollback;
