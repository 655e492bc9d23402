begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(6);

:as_anon;
select throws_ok($$ select public.release_generations('w', '{1ea5e000-0000-4000-8000-000000000001}') $$, '42501', null,
  'anon hands nothing back');
:as_owner;
select throws_ok($$ select public.release_generations('w', '{1ea5e000-0000-4000-8000-000000000001}') $$, '42501', null,
  'a user hands nothing back');
:as_service;
select throws_ok($$ select public.release_generations('x', '{1ea5e000-0000-4000-8000-000000000001}') $$, 'PT409', null,
  'another worker hands nothing back');
select results_eq(
  $$ select generation_id from public.release_generations('w', '{1ea5e000-0000-4000-8000-000000000001}') $$,
  $$ values ('17e30000-0000-4000-8000-000000000002'::uuid) $$, 'a worker hands back its own'
);
:as_admin;
select results_eq(
  $$ select g.status, g.retry_count, q.state::text from public.image_generations g
    join batchgen.queue q on q.generation_id = g.id
     where g.id = '17e30000-0000-4000-8000-000000000002' $$,
  $$ values ('pending', 0, 'waiting') $$, 'the released item waits, and no attempt is used up'
);
:as_service;
select throws_ok($$ select public.release_generations('w', '{1ea5e000-0000-4000-8000-000000000001}') $$, 'PT409', null,
  'once');

select * from finish();
rollback;
