begin;
\ir ../setup.psql
select plan(9);
\set two '{"prompts": [{"text": "a"}, {"text": "b", "seed": 0, "tags": [" Red ", "red"]}]}'

:as_anon;
select throws_ok(format('select public.create_batch(%L)', :'two'), 'PT401', 'You are not signed in.',
  'anon is refused as not signed in');
select throws_ok(format('select batchgen_api.create_batch(%L)', :'two'), '42501', null,
  'anon does not call the function behind it');
:as_no_user;
select throws_ok(format('select public.create_batch(%L)', :'two'), 'PT401', 'You are not signed in.',
  'a token without a user creates nothing');
:as_service;
select throws_ok(format('select public.create_batch(%L)', :'two'), '42501', null, 'an operator calls create_batch_as');
:as_owner;
select throws_ok(
  format('select batchgen.create_batch_for(%L, %L)', 'bbbbbbbb-0000-4000-8000-000000000002', :'two'), '42501', null,
  'a user does not create in the name of another'
);
select is((public.create_batch(:'two') -> 'batch' ->> 'total_count')::integer, 2, 'a user creates a batch');
:as_admin;
select results_eq(
  $$
    select g.user_id, g.prompt, g.status, g.batch_index, g.seed = 0, q.state::text
    from public.image_generations g join batchgen.queue q on q.generation_id = g.id
    where g.prompt in ('a', 'b') order by g.batch_index
  $$,
  $$
    values
      ('aaaaaaaa-0000-4000-8000-000000000001'::uuid, 'a', 'pending', 0, false, 'waiting'),
      ('aaaaaaaa-0000-4000-8000-000000000001'::uuid, 'b', 'pending', 1, true, 'waiting')
  $$,
  'items are the user''s and wait; a seed of 0 is a seed'
);
select results_eq($$ select name from batchgen.generation_tags $$, $$ values ('red') $$,
  'tags are trimmed, lower case, each once');
:as_other;
select is((select count(*)::integer from public.batch_generations), 1, 'nobody else sees the batch');

select * from finish();
rollback;
