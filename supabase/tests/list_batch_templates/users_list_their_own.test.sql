begin;
\ir ../setup.psql
select plan(5);

:as_anon;
select throws_ok($$ select public.list_batch_templates() $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.list_batch_templates() $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_owner;
select public.save_batch_template(
  '{"name": "zoo", "request": {"prompts": [{"text": "a {{animal}}"}, {"text": "b"}]}}');
select is(jsonb_path_query_array(public.list_batch_templates(), '$.templates[*].name'), '["zoo"]',
  'users see their own');
:as_other;
select is(public.list_batch_templates(), '{"templates": []}', 'and nobody else''s');
select throws_ok($$ select public.list_batch_templates('aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404', null,
  'nor ask for them');

select * from finish();
rollback;
