begin;
\ir ../setup.psql
\ir ../lease.psql
create function pg_temp.failing(p_lease text, p_error text) returns text language sql as $$
  select format('select public.fail_generation(%L, %L, %L)', '17e30000-0000-4000-8000-000000000002', p_lease, p_error)
$$;
\set held '1ea5e000-0000-4000-8000-000000000001'
select plan(8);

:as_anon;
select throws_ok(pg_temp.failing(:'held', '{}'), '42501', null, 'anon ends nothing');
:as_owner;
select throws_ok(pg_temp.failing(:'held', '{}'), '42501', null, 'a user ends nothing');
:as_service;
select throws_ok(pg_temp.failing(:'held', '[]'), 'PT422', null, 'an error is an object');
select throws_ok(pg_temp.failing(:'held', '{"retry_after_seconds": "soon"}'), 'PT422', null, 'a wait is a number');
select throws_ok(pg_temp.failing('1ea5e000-0000-4000-8000-00000000ffff', '{}'), 'PT409', null,
  'another lease ends nothing');
select lives_ok(pg_temp.failing(:'held', '{"code": "blocked", "message": "No."}'),
  'the lease that is held ends its attempt');
select throws_ok(pg_temp.failing(:'held', '{}'), 'PT409', null, 'once');
:as_admin;
select results_eq(
  $$ select status, completed_count, failed_count from public.batch_generations where name = 'hers' $$,
  $$ values ('partial', 1, 1) $$, 'the totals are what the items say'
);

select * from finish();
rollback;
