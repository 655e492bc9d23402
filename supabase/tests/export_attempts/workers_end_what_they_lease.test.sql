begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(24);

:as_owner;
select throws_ok($$ select public.renew_export(null, null, 60, 0) $$, '42501', null, 'a user renews nothing');
select throws_ok($$ select public.note_export_file(null, null, '') $$, '42501', null, 'and notes nothing');
select throws_ok($$ select public.complete_export(null, null, '{}') $$, '42501', null, 'and completes nothing');
select throws_ok($$ select public.fail_export(null, null, '{}') $$, '42501', null, 'and fails nothing');

:as_service;
select throws_ok(format('select public.renew_export(%L, gen_random_uuid(), 60, 1)', :export), 'PT409', null,
  'another lease is lost');
select throws_ok(format('select public.complete_export(%L, gen_random_uuid(), ''{}'')', :export), 'PT409', null,
  'and completes nothing');
select throws_ok(format('select public.renew_export(%L, %L, 0, 1)', :export, :lease), 'PT422', null,
  'a lease has a length');
select lives_ok(format('select public.renew_export(%L, %L, 600, 1)', :export, :lease), 'a lease is renewed');
select throws_ok(format('select public.note_export_file(%L, %L, ''bbbbbbbb-0000-4000-8000-000000000002/x.zip'')',
  :export, :lease), 'PT422', null, 'a file is in the folder of its export');
select throws_ok(format('select public.complete_export(%L, %L, ''{"parts": [{"path": "x"}]}'')', :export, :lease),
  'PT422', null, 'a part was recorded before');
select throws_ok(format('select public.complete_export(%L, %L, ''{"parts": []}'')', :export, :lease), 'PT422', null,
  'an export has parts');
select throws_ok(format('select public.complete_export(%L, %L, ''{}'')', :export, :lease), 'PT422',
  'p_result has no list of parts', 'as a list');
select lives_ok(format('select public.note_export_file(%L, %L, %L)', :export, :lease, :path), 'a file is recorded');
:as_admin;
select is((select d.bucket_id from batchgen.storage_deletions d where d.path = :path and d.due_at > now()),
  'batchgen-exports', 'and is in the outbox before it is stored');
savepoint before_the_end;
:as_service;
select lives_ok(format('select public.complete_export(%L, %L, %L)', :export, :lease,
  jsonb_build_object('parts', jsonb_build_array(jsonb_build_object('path', :path)), 'pictures', 1, 'missing', 2)),
  'an export is completed');
:as_admin;
select results_eq(
  $$ select e.status, e.picture_count, e.missing_count, d.due_at = e.expires_at from batchgen.exports e
    join batchgen.storage_deletions d on d.path = e.files[1] $$,
  $$ values ('ready', 1, 2, false) $$, 'it is ready'
);
select cmp_ok((select abs(extract(epoch from d.due_at - e.expires_at)) from batchgen.exports e
  join batchgen.storage_deletions d on d.path = e.files[1]), '<', 5::numeric, 'and its files go when its links end');
delete from batchgen.exports;
select cmp_ok((select d.due_at from batchgen.storage_deletions d where d.path = :path), '<=', clock_timestamp(),
  'or when it is deleted');

rollback to before_the_end;
:as_service;
select lives_ok(format('select public.fail_export(%L, %L, ''{"code": "handed_back"}'')', :export, :lease),
  'a worker that stops hands it back');
:as_admin;
select results_eq($$ select e.status, e.attempts, e.error_code from batchgen.exports e $$,
  $$ values ('pending', 0, null::text) $$, 'which uses up no attempt');
rollback to before_the_end;
:as_service;
select public.fail_export(:export, :lease, '{"code": "storage_error", "message": "No.", "retryable": true}');
:as_admin;
select results_eq($$ select e.status, e.due_at > now(), e.error_message from batchgen.exports e $$,
  $$ values ('pending', true, 'No.') $$, 'a passing fault is tried again later');
rollback to before_the_end;
update batchgen.exports set attempts = 3;
:as_service;
select public.fail_export(:export, :lease, '{"code": "storage_error", "message": "No.", "retryable": true}');
:as_admin;
select is((select e.status from batchgen.exports e), 'failed', 'three times at most');
rollback to before_the_end;
:as_service;
select public.fail_export(:export, :lease, '{"code": "image_refused", "message": "No."}');
:as_admin;
select is((select e.status from batchgen.exports e), 'failed', 'what is not retryable fails at once');
select cmp_ok((select d.due_at from batchgen.storage_deletions d where d.path = :path), '<', now() + interval '16 min',
  'and its files go soon');

select * from finish();
rollback;
