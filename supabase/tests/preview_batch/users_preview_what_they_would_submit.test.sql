begin;
\ir ../setup.psql
\set two '{"prompts": [{"text": "a fox", "seed": 0, "tags": ["New"]}, {"text": "a bird"}], "batch_name": "Animals"}'
select plan(8);

:as_anon;
select throws_ok(format('select public.preview_batch(%L)', :'two'), 'PT401', null, 'anon is told to sign in');
:as_no_user;
select throws_ok(format('select public.preview_batch(%L)', :'two'), 'PT401', null,
  'a token without a user is told to sign in');
:as_owner;
select is(
  public.preview_batch(:'two') -> 'items',
  '[{"index": 0, "prompt": "a fox", "negative_prompt": null, "seed": "0", "tags": ["new"]},
    {"index": 1, "prompt": "a bird", "negative_prompt": null, "seed": null, "tags": []}]',
  'the items as they would be made'
);
select throws_ok($$ select public.preview_batch('{"prompts": [{"text": "one"}]}') $$, 'PT422', null,
  'what breaks a rule is refused');
select throws_ok(
  format('select public.preview_batch_as(%L, %L)', 'bbbbbbbb-0000-4000-8000-000000000002', :'two'), '42501', null,
  'a user does not act for another');
:as_service;
select is(
  (public.preview_batch_as('aaaaaaaa-0000-4000-8000-000000000001', :'two') ->> 'count')::integer, 2,
  'an operator previews for a user'
);
select throws_ok(
  format('select public.preview_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-00000000ffff', :'two'), 'PT422', null,
  'of this project');
:as_admin;
select is(
  (select count(*) from public.batch_generations)::integer + (select count(*) from public.user_rate_limits)::integer, 2,
  'nothing is written'
);

select * from finish();
rollback;
