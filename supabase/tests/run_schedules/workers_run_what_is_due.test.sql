begin;
\ir ../setup.psql
\ir ../schedule.psql
select plan(8);

:as_anon;
select throws_ok('select public.run_schedules()', '42501', null, 'anon does not');
:as_owner;
select throws_ok('select public.run_schedules()', '42501', null, 'a user does not');
:as_service;
select is(public.run_schedules() #>> '{fired,runs,0,outcome}', 'submitted', 'the last due slot makes a batch');
select is(public.run_schedules() -> 'fired', 'null'::jsonb, 'once');
select is(public.run_schedules() #>> '{to_plan,0,schedule_id}', :'schedule', 'its next times are asked for');
:as_owner;
select is(public.get_schedule_runs(:'schedule') #>> '{runs,1,outcome}', 'missed', 'the earlier slot passed');
select is((select count(*)::integer from public.batch_generations), 2, 'the batch belongs to the user');
select is(jsonb_array_length(public.preview_schedule(:'schedule') -> 'next_runs'), 1, 'the slot to come stays');

select * from finish();
rollback;
