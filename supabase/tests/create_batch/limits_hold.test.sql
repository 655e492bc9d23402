begin;
\ir ../setup.psql
\set keyed '{"prompts": [{"text": "a"}, {"text": "b"}], "client_key": "k"}'
\set two '{"prompts": [{"text": "a"}, {"text": "b"}]}'
select plan(8);

insert into public.user_rate_limits (user_id, daily_generations_limit)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 1);
:as_owner;
select throws_ok(format('select public.create_batch(%L)', :'two'), 'PT429', null, 'a daily limit');
:as_admin;
update public.user_rate_limits set daily_generations_limit = null, hourly_generations_limit = 1;
:as_owner;
select throws_ok(format('select public.create_batch(%L)', :'two'), 'PT429', null, 'an hourly limit');
:as_admin;
update public.user_rate_limits set hourly_generations_limit = null;
update batchgen.settings set max_waiting_per_user = 2;
:as_owner;
select throws_ok(format('select public.create_batch(%L)', :'two'), 'PT429', null,
  'a limit of what waits: one does already');
select throws_ok(
  $$ select public.create_batch(jsonb_build_object('prompts', '[{"text": "a"}, {"text": "b"}]'::jsonb, 'ignored',
    (select array_agg(md5(n::text)) from generate_series(1, 100000) n))) $$,
  'PT422', null, 'a request is not larger than any valid one'
);
:as_service;
select lives_ok(format('select public.create_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'two'),
  'an operator may do more');
:as_admin;
select is((select daily_generations_count from public.user_rate_limits
  where user_id = 'aaaaaaaa-0000-4000-8000-000000000001'), 2, 'an operator''s batch counts against the limits');
set local request.jwt.claims = '{"role": "authenticated", "sub": "cccccccc-0000-4000-8000-000000000003"}';
set local role authenticated;
select throws_ok(format('select public.create_batch(%L)', :'two'), 'PT401', 'This user no longer exists.',
  'a token outlives its user');
select throws_ok(
  format('select public.create_batch(%L)', :'keyed'), 'PT401', 'This user no longer exists.',
    'a deleted user''s token is refused before anything is written'
);

select * from finish();
rollback;
