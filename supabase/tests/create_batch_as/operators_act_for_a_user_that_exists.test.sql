begin;
\ir ../setup.psql
select plan(6);
\set two '{"prompts": [{"text": "a"}, {"text": "b"}]}'

:as_anon;
select throws_ok(format('select public.create_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'two'),
  '42501', null, 'anon does not');
:as_other;
select throws_ok(format('select public.create_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'two'),
  '42501', null, 'a user does not');
:as_service;
select throws_ok(format('select public.create_batch_as(%L, %L)', gen_random_uuid(), :'two'), 'PT422', null,
  'nobody is made up');
select throws_ok(format('select public.create_batch_as(null, %L)', :'two'), 'PT422', null, 'somebody is named');
select lives_ok(format('select public.create_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'two'),
  'an operator does');
:as_owner;
select is((select count(*)::integer from public.batch_generations), 2, 'the batch belongs to the user');

select * from finish();
rollback;
