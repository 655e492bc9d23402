begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(4);

:as_anon;
select throws_ok($$ select public.release_generations_as_json('w', '{}') $$, '42501', null, 'anon releases nothing');
:as_owner;
select throws_ok($$ select public.release_generations_as_json('w', '{}') $$, '42501', null, 'a user releases nothing');
:as_service;
select is(
  public.release_generations_as_json('w', '{1ea5e000-0000-4000-8000-000000000001}'),
  '{"released": [{"generation_id": "17e30000-0000-4000-8000-000000000002",
    "lease_id": "1ea5e000-0000-4000-8000-000000000001"}]}',
  'what was held is handed back'
);
select throws_ok(
  $$ select public.release_generations_as_json('w', '{1ea5e000-0000-4000-8000-000000000001}') $$, 'PT409', null, 'once'
);

select * from finish();
rollback;
