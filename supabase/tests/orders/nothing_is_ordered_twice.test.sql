begin;
\ir ../setup.psql
\ir ../lease.psql
\set order 'select public.begin_order(\'17e30000-0000-4000-8000-000000000002\', \'1ea5e000-0000-4000-8000-000000000001\', \'{"provider": "replicate"}\')'
select plan(7);

:as_service;
select lives_ok(:'order', 'an attempt orders');
select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
  'replicate', 'job-1');
select throws_ok(:'order', 'PT422', null, 'an attempt orders no second job');
select public.release_generations('w', array['1ea5e000-0000-4000-8000-000000000001'::uuid]);
:as_admin;
select throws_ok($$ select batchgen.note_charge('17e30000-0000-4000-8000-000000000002', 1, true) $$, 'PT409', null,
  'nobody decides about an order that its item waits for');
\ir ../lease.psql
update batchgen.orders set is_late = true, late_code = 'timeout', late_message = 'It took too long.';
:as_service;
select throws_ok(:'order', 'PT422', null, 'a picture that was made is collected, and none is ordered');
:as_admin;
update batchgen.orders set is_late = false, late_code = null, late_message = null;
:as_service;
select lives_ok(:'order', 'a worker with another provider may order anew in a later attempt');
:as_admin;
select results_eq(
  $$ select provider_job_id, ended_at is not null from batchgen.orders order by provider_job_id $$,
  $$ values ('job-1', true), (null, false) $$, 'the job that was left is asked about'
);
select lives_ok($$ select batchgen.note_charge('17e30000-0000-4000-8000-000000000002', 1, true) $$,
  'unless a person decides');

select * from finish();
rollback;
