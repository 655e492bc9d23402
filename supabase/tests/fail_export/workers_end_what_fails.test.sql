begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(5);

:as_anon;
select throws_ok($$ select public.fail_export(null, null, '{}') $$, '42501', null, 'anon fails nothing');
:as_owner;
select throws_ok($$ select public.fail_export(null, null, '{}') $$, '42501', null, 'nor does a user');
:as_service;
select throws_ok(format('select public.fail_export(%L, gen_random_uuid(), ''{"code": "storage_error"}'')', :export),
  'PT409', null, 'nor a worker that has lost its lease');
select lives_ok(format('select public.fail_export(%L, %L, ''{"code": "image_refused", "message": "No."}'')', :export,
  :lease), 'what cannot be built fails');
:as_admin;
select results_eq($$ select e.status, e.error_code, e.error_message from batchgen.exports e $$,
  $$ values ('failed', 'image_refused', 'No.') $$, 'with its reason');

select * from finish();
rollback;
