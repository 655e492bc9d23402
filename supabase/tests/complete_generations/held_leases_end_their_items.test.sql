begin;
\ir ../setup.psql
\ir ../lease.psql
\set results '[{"generation_id": "17e30000-0000-4000-8000-000000000002", "lease_id": "1ea5e000-0000-4000-8000-000000000001", "result": {"storage_path": "aaaaaaaa-0000-4000-8000-000000000001/new.png"}}, {"generation_id": "17e30000-0000-4000-8000-000000000003", "lease_id": "1ea5e000-0000-4000-8000-00000000ffff", "result": {"storage_path": "bbbbbbbb-0000-4000-8000-000000000002/x.png"}}]'
select plan(6);

:as_anon;
select throws_ok(format('select public.complete_generations(%L)', :'results'), '42501', null, 'anon ends nothing');
:as_owner;
select throws_ok(format('select public.complete_generations(%L)', :'results'), '42501', null, 'a user ends nothing');
:as_service;
select throws_ok($$ select public.complete_generations('{}') $$, 'PT422',
  'p_results is not a list of at most 1000 results', 'results are a list');
select results_eq(
  format('select generation_id from public.complete_generations(%L)', :'results'),
  $$ values ('17e30000-0000-4000-8000-000000000002'::uuid) $$, 'the item whose lease is held ends, and no other'
);
select is_empty(format('select public.complete_generations(%L)', :'results'), 'once');
:as_admin;
select is((select status from public.image_generations where prompt = 'their secret'), 'pending',
  'nothing happened to the other');

select * from finish();
rollback;
