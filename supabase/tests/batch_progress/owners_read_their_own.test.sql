begin;
\ir ../setup.psql
select plan(6);

:as_owner;
select results_eq(
  $$ select id, total_count, items[1] ->> 'prompt', (items[2] ->> 'progress')::integer from public.batch_progress $$,
  $$ values ('ba7c0000-0000-4000-8000-000000000001'::uuid, 2, 'a red fox', 0) $$,
  'the owner reads her batch and its items'
);
:as_other;
select results_eq(
  $$ select id from public.batch_progress $$, $$ values ('ba7c0000-0000-4000-8000-000000000002'::uuid) $$,
    'somebody else reads theirs'
);
select is_empty(
  $$ select 1 from public.batch_progress where id = 'ba7c0000-0000-4000-8000-000000000001' $$,
    'somebody else does not read her batch by its id'
);
:as_no_user;
select is_empty($$ select 1 from public.batch_progress $$, 'a token without a user reads nothing');
:as_anon;
select throws_ok($$ select 1 from public.batch_progress $$, '42501', null, 'anon is refused');
:as_service;
select is((select count(*)::integer from public.batch_progress), 2, 'the worker''s role reads all');

select * from finish();
rollback;
