begin;
\ir ../setup.psql
select plan(5);
\set good '{"cron": "0 9 * * mon", "request": {"prompts": [{"text": "a"}, {"text": "b"}]}}'

:as_anon;
select throws_ok(format('select public.create_schedule_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'good'),
  '42501', null, 'anon does not');
:as_other;
select throws_ok(format('select public.create_schedule_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'good'),
  '42501', null, 'a user does not');
:as_service;
select throws_ok(format('select public.create_schedule_as(%L, %L)', gen_random_uuid(), :'good'), 'PT422', null,
  'nobody is made up');
select throws_ok(format('select public.create_schedule_as(null, %L)', :'good'), 'PT422', null, 'somebody is named');
select is(public.create_schedule_as('aaaaaaaa-0000-4000-8000-000000000001', :'good') -> 'schedule' ->> 'user_id',
  'aaaaaaaa-0000-4000-8000-000000000001', 'an operator does');

select * from finish();
rollback;
