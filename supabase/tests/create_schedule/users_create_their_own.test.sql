begin;
\ir ../setup.psql
select plan(7);
\set good '{"cron": "0 9 * * mon", "request": {"prompts": [{"text": "a"}, {"text": "b"}]}}'

:as_anon;
select throws_ok(format('select public.create_schedule(%L)', :'good'), '42501', null, 'anon is refused');
:as_no_user;
select throws_ok(format('select public.create_schedule(%L)', :'good'), 'PT401', null,
  'a token without a user is told to sign in');
:as_owner;
select is(public.create_schedule(:'good') -> 'schedule' ->> 'user_id', 'aaaaaaaa-0000-4000-8000-000000000001',
  'the schedule belongs to its maker');
select throws_ok('select public.create_schedule(null)', 'PT422', null, 'a schedule is an object');
select throws_ok($$ select public.create_schedule('{"cron": "0 9 * * mon"}') $$, 'PT422', null,
  'a schedule has a request');
:as_admin;
reset role;
update batchgen.settings set max_schedules_per_user = 1;
:as_owner;
select throws_ok(format('select public.create_schedule(%L)', :'good'), 'PT429', null, 'users have a bounded number');
:as_service;
select throws_ok(format('select public.create_schedule(%L)', :'good'), '42501', null,
  'an operator names the user with create_schedule_as');

select * from finish();
rollback;
