begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(7);

:as_anon;
select throws_ok($$ select public.complete_export(null, null, '{}') $$, '42501', null, 'anon completes nothing');
:as_owner;
select throws_ok($$ select public.complete_export(null, null, '{}') $$, '42501', null, 'nor does a user');
:as_service;
select public.note_export_file(:export, :lease, :path);
create temporary table answer as select
  jsonb_build_object('parts', jsonb_build_array(jsonb_build_object('path', :path)), 'pictures', 1, 'missing', 0) as one;
select throws_ok(format('select public.complete_export(%L, gen_random_uuid(), %L)', :export, one), 'PT409', null,
  'nor a worker that has lost its lease')
from answer;
select throws_ok(format('select public.complete_export(%L, %L, ''{"parts": [{"path": "x"}]}'')', :export, :lease),
  'PT422', null, 'a part was recorded before');
select lives_ok(format('select public.complete_export(%L, %L, %L)', :export, :lease, one), 'an export is completed')
from answer;
select throws_ok(format('select public.complete_export(%L, %L, %L)', :export, :lease, one), 'PT409', null, 'once')
from answer;
:as_admin;
select is((select e.status from batchgen.exports e), 'ready', 'it is ready');

select * from finish();
rollback;
