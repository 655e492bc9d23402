begin;
\ir ../setup.psql
\ir ../schedule.psql
select plan(6);
\set wrong '[{"schedule_id": "5c4ed01e-0000-4000-8000-000000000001", "version": 1, "planned_until": "2100-01-01", "slots": ["2099-01-01"]}]'

:as_anon;
select throws_ok($$ select public.plan_schedules('[]') $$, '42501', null, 'anon does not');
:as_owner;
select throws_ok($$ select public.plan_schedules('[]') $$, '42501', null, 'a user does not');
:as_service;
select is(public.plan_schedules('[]'), 0, 'no plans are no error');
select throws_ok(format('select public.plan_schedules(%L)', :'wrong'), 'PT422', null,
  'times before the planned ones are refused');
select is(public.plan_schedules((
  select jsonb_build_array(p || jsonb_build_object('slots', jsonb_build_array(now() + interval '47 hours')))
  from jsonb_array_elements(public.run_schedules() -> 'to_plan') p
)), 1, 'a plan for what was asked is taken');
:as_owner;
select is(jsonb_array_length(public.preview_schedule(:'schedule') -> 'next_runs'), 2, 'its owner sees the times');

select * from finish();
rollback;
