begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(7);

:as_anon;
select throws_ok(
  $$ select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
    'p', 'job') $$,
  '42501', null, 'anon stores nothing'
);
:as_owner;
select throws_ok(
  $$ select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
    'p', 'job') $$,
  '42501', null, 'a user stores nothing'
);
:as_service;
select throws_ok(
  $$ select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
    'p', '') $$,
  'PT422', null, 'a job has an id'
);
select throws_ok(
  $$ select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', gen_random_uuid(), 'p', 'job') $$,
  'PT409', null, 'another lease stores nothing'
);
select lives_ok(
  $$ select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
    'p', 'job') $$,
  'the lease that is held does'
);
:as_admin;
select results_eq(
  $$ select provider, provider_job_id from batchgen.queue where state = 'running' $$, $$ values ('p', 'job') $$,
    'both are there'
);
update batchgen.queue set lease_expires_at = now() - interval '1 second' where lease_id is not null;
:as_service;
select throws_ok(
  $$ select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
    'p', 'late') $$,
  'PT409', null, 'a lease past its end stores nothing'
);

select * from finish();
rollback;
