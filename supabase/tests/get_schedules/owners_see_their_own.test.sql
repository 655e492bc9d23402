begin;
\ir ../setup.psql
\ir ../schedule.psql
select plan(6);

:as_anon;
select throws_ok('select public.get_schedules()', '42501', null, 'anon is refused');
:as_no_user;
select throws_ok('select public.get_schedules()', 'PT401', null, 'a token without a user is told to sign in');
:as_other;
select is(public.get_schedules(), '[]', 'a stranger sees none');
select throws_ok($$ select public.get_schedules('aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404', null,
  'nor those of a user whom they name');
:as_owner;
select is(public.get_schedules() -> 0 ->> 'id', :'schedule', 'an owner sees hers');
:as_service;
select is(jsonb_array_length(public.get_schedules('aaaaaaaa-0000-4000-8000-000000000001')), 1,
  'an operator sees those of a user');

select * from finish();
rollback;
