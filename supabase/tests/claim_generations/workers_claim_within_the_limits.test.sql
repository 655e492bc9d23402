begin;
\ir ../setup.psql
insert into public.image_generations (id, user_id, prompt, status, batch_id, batch_index) values
  ('17e30000-0000-4000-8000-000000000005', 'aaaaaaaa-0000-4000-8000-000000000001', 'another', 'pending',
    'ba7c0000-0000-4000-8000-000000000001', 2);
select plan(9);

:as_anon;
select throws_ok($$ select public.claim_generations('w', 1, 60) $$, '42501', null, 'anon claims nothing');
:as_owner;
select throws_ok($$ select public.claim_generations('w', 1, 60) $$, '42501', null, 'a user claims nothing');
:as_service;
select throws_ok($$ select public.claim_generations(' ', 1, 60) $$, 'PT422', null, 'a worker has a name');
select throws_ok($$ select public.claim_generations('w', 1, 0) $$, 'PT422', null, 'a lease has a length');
select throws_ok($$ select public.claim_generations('w', -1, 60) $$, 'PT422', null, 'a limit is a number of items');
:as_admin;
update batchgen.settings set max_parallel_per_user = 1;
:as_service;
select bag_eq(
  $$ select c.generation_id from public.claim_generations('w', 10, 60) c $$,
  $$ values ('17e30000-0000-4000-8000-000000000002'::uuid), ('17e30000-0000-4000-8000-000000000003'::uuid) $$,
  'as many per user as may run, first in first out, and no single generation'
);
select is_empty($$ select public.claim_generations('w', 10, 60) $$, 'a second claim gets nothing more');
:as_admin;
update batchgen.settings set max_parallel_per_user = 3, max_parallel_global = 2;
:as_service;
select is_empty($$ select public.claim_generations('w', 10, 60) $$, 'no more items run than the global limit');
select results_eq(
  $$ select status from public.batch_generations order by id $$, $$ values ('processing'), ('processing') $$,
    'a start opens its batch'
);

select * from finish();
rollback;
