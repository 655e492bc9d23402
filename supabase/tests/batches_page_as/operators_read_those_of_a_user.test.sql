begin;
\ir ../setup.psql
select plan(3);

:as_anon;
select throws_ok($$ select public.batches_page_as('aaaaaaaa-0000-4000-8000-000000000001') $$, '42501', null,
  'anon is refused');
:as_owner;
select throws_ok($$ select public.batches_page_as('aaaaaaaa-0000-4000-8000-000000000001') $$, '42501', null,
  'so is a user');
:as_service;
select is(
  jsonb_path_query_array(public.batches_page_as('aaaaaaaa-0000-4000-8000-000000000001')::jsonb,
    '$.batches[*].batch.name'),
  '["hers"]', 'an operator reads those of one user'
);

select * from finish();
rollback;
