begin;
\ir ../setup.psql
select plan(5);

:as_anon;
select throws_ok($$ select public.save_batch_template('{}') $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.save_batch_template('{}') $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_owner;
select is(public.save_batch_template(
  '{"name": "zoo", "request": {"prompts": [{"text": "a {{animal}}"}, {"text": "b"}]}}')
  #>> '{template,is_own}', 'true', 'users save their own');
select throws_ok($$ select public.save_batch_template('{"name": "a"}') $$, 'PT422', null, 'a request or a batch');
:as_other;
select throws_ok(
  $$ select public.save_batch_template('{"name": "a", "batch_id": "ba7c0000-0000-4000-8000-000000000001"}')
  $$, 'PT404', null, 'of their own');

select * from finish();
rollback;
