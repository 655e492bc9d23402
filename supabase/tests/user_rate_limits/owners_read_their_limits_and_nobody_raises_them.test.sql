begin;
\ir ../setup.psql
insert into public.user_rate_limits (user_id, daily_generations_count) values
  ('aaaaaaaa-0000-4000-8000-000000000001', 5), ('bbbbbbbb-0000-4000-8000-000000000002', 7);
select plan(9);

:as_owner;
select results_eq($$ select daily_generations_count from public.user_rate_limits $$, $$ values (5) $$,
  'an owner reads their own limits');
:as_no_user;
select is_empty($$ select 1 from public.user_rate_limits $$, 'a token without a user reads none');
:as_anon;
select throws_ok($$ select 1 from public.user_rate_limits $$, '42501', null, 'anon is refused');
:as_owner;
select throws_ok($$ update public.user_rate_limits set daily_generations_count = 0 $$, '42501', null,
  'nobody clears a count');
:as_admin;
\ir ../triggers_alone.psql
:as_owner;
select throws_ok($$ update public.user_rate_limits set daily_generations_count = 0 $$, 'PT403', null,
  'nobody clears a count where a project grants it');
select throws_ok($$ insert into public.user_rate_limits (user_id, daily_generations_limit)
  values (gen_random_uuid(), 9) $$, 'PT403', null, 'nobody inserts limits');
select throws_ok($$ delete from public.user_rate_limits $$, 'PT403', null, 'nobody deletes limits');
select throws_ok($$ truncate public.user_rate_limits $$, 'PT403', null, 'nobody truncates limits');
:as_service;
select lives_ok($$ update public.user_rate_limits set daily_generations_limit = 50 $$, 'an operator sets limits');

select * from finish();
rollback;
