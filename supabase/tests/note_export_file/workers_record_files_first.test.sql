begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(6);

:as_anon;
select throws_ok($$ select public.note_export_file(null, null, '') $$, '42501', null, 'anon records nothing');
:as_owner;
select throws_ok($$ select public.note_export_file(null, null, '') $$, '42501', null, 'nor does a user');
:as_service;
select throws_ok(format('select public.note_export_file(%L, gen_random_uuid(), %L)', :export, :path), 'PT409', null,
  'nor a worker that has lost its lease');
select throws_ok(format('select public.note_export_file(%L, %L, ''bbbbbbbb-0000-4000-8000-000000000002/x.zip'')',
  :export, :lease), 'PT422', null, 'a file is in the folder of its export');
select lives_ok(format('select public.note_export_file(%L, %L, %L)', :export, :lease, :path), 'a file is recorded');
:as_admin;
select is((select e.files from batchgen.exports e), array[:path], 'with the export');

select * from finish();
rollback;
