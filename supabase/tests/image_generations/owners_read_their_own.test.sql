begin;
\ir ../setup.psql
select plan(5);

:as_owner;
select results_eq(
  $$ select prompt from public.image_generations order by prompt $$,
  $$ values ('a blue bird'), ('a red fox'), ('a single picture') $$,
  'the owner reads her items and no others'
);
:as_other;
select results_eq($$ select prompt from public.image_generations $$, $$ values ('their secret') $$,
  'somebody else does not read them');
:as_no_user;
select is_empty($$ select 1 from public.image_generations $$, 'a token without a user reads nothing');
:as_anon;
select throws_ok($$ select 1 from public.image_generations $$, '42501', null, 'anon is refused');
:as_service;
select is((select count(*)::integer from public.image_generations), 4, 'the worker''s role reads all');

select * from finish();
rollback;
