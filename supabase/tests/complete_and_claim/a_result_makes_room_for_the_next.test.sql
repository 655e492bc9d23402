begin;
\ir ../setup.psql
\ir ../lease.psql
update batchgen.settings set max_parallel_global = 1;
\set results '[{"generation_id": "17e30000-0000-4000-8000-000000000002", "lease_id": "1ea5e000-0000-4000-8000-000000000001", "result": {"storage_path": "aaaaaaaa-0000-4000-8000-000000000001/new.png"}}]'
select plan(6);

:as_anon;
select throws_ok(format('select public.complete_and_claim(%L, %L, 1, 60)', :'results', 'w'), '42501', null,
  'anon does nothing');
:as_owner;
select throws_ok(format('select public.complete_and_claim(%L, %L, 1, 60)', :'results', 'w'), '42501', null,
  'a user does nothing');
:as_service;
select throws_ok(format('select public.complete_and_claim(%L, %L, 1, 60)', :'results', ''), 'PT422', null,
  'a worker has a name');
select is(
  public.complete_and_claim(:'results', 'w', 1, 60) #>> '{claims,0,generation_id}',
    '17e30000-0000-4000-8000-000000000003', 'the slot is filled again'
);

select throws_ok($$ select public.complete_and_claim('[]', 'w', -1, 60) $$, 'PT422', null,
  'a claim alone is refused like any other');
select is(
  public.complete_and_claim('[{"generation_id": "17e30000-0000-4000-8000-000000000001",
    "lease_id": "1ea5e000-0000-4000-8000-000000000009"}]',
    'w', -1, 60) #>> '{claim_error,code}', 'PT422', 'with results the answer says why nothing was claimed'
);

select * from finish();
rollback;
