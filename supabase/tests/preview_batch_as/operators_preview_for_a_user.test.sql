begin;
\ir ../setup.psql
\set two '{"prompts": [{"text": "a fox"}, {"text": "a bird"}]}'
select plan(4);

:as_anon;
select throws_ok(format('select public.preview_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'two'),
  '42501', null, 'anon is refused');
:as_owner;
select throws_ok(format('select public.preview_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'two'),
  '42501', null, 'so is a user');
:as_service;
select is((public.preview_batch_as('aaaaaaaa-0000-4000-8000-000000000001', :'two') ->> 'count')::integer, 2,
  'an operator previews for a user');
select throws_ok(format('select public.preview_batch_as(%L, %L)', gen_random_uuid(), :'two'), 'PT422', null,
  'of this project');

select * from finish();
rollback;
