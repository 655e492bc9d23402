begin;
\ir ../setup.psql
select plan(6);

:as_anon;
select throws_ok($$ select public.claim_generations_as_json('w', 5, 60) $$, '42501', null, 'anon claims nothing');
:as_owner;
select throws_ok($$ select public.claim_generations_as_json('w', 5, 60) $$, '42501', null, 'a user claims nothing');
:as_service;
select throws_ok($$ select public.claim_generations_as_json('', 5, 60) $$, 'PT422', null, 'a worker has a name');
select is(
  jsonb_path_query_array(public.claim_generations_as_json('w', 5, 60, '{"version": "1.0", "providers": ["fal"]}'),
    '$.claims[*].generation_id'),
  '["17e30000-0000-4000-8000-000000000003", "17e30000-0000-4000-8000-000000000002"]'::jsonb,
    'claims come in their order'
);
select is(public.claim_generations_as_json('w', 5, 60), '{"claims": []}', 'none is an empty list');
select results_eq(
  $$ select version, providers from public.get_workers() $$, $$ values ('1.0', '{fal}'::text[]) $$,
    'the worker has told about itself'
);

select * from finish();
rollback;
