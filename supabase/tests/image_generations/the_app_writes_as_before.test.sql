begin;
\ir ../setup.psql
insert into public.image_generations (id, user_id, prompt, status, error_message, batch_id, batch_index) values
  ('17e30000-0000-4000-8000-000000000006', 'aaaaaaaa-0000-4000-8000-000000000001', 'failed', 'failed', 'Timeout',
    'ba7c0000-0000-4000-8000-000000000001', 2),
  ('17e30000-0000-4000-8000-000000000007', 'aaaaaaaa-0000-4000-8000-000000000001', 'blocked', 'failed', 'No',
    'ba7c0000-0000-4000-8000-000000000001', 3),
  ('17e30000-0000-4000-8000-000000000008', 'aaaaaaaa-0000-4000-8000-000000000001', 'running', 'processing', null,
    'ba7c0000-0000-4000-8000-000000000001', 4);
insert into batchgen.failures (generation_id, code)
  values ('17e30000-0000-4000-8000-000000000007', 'blocked_by_policy');
\ir ../triggers_alone.psql
create temporary table forged (columns text, sqlstate text);
insert into forged values
  ('batch_id = ''ba7c0000-0000-4000-8000-000000000001''', 'PT403'), ('batch_index = 1', 'PT403'),
    ('status = ''completed''', 'PT422'),
  ('retry_count = 1', 'PT403'), ('priority = 1', 'PT403'), ('error_message = ''x''', 'PT403'),
    ('replicate_prediction_id = ''x''', 'PT403'),
  ('generation_time_seconds = 1', 'PT403'), ('completed_at = ''2026-01-01''', 'PT403');
grant select on forged to public;
select plan((select count(*) + 19 from forged)::integer);

:as_owner;
select throws_ok(
  format('insert into public.image_generations (user_id, prompt, %s) values (%L, %L, %s)',
    split_part(columns, ' = ', 1),
    'aaaaaaaa-0000-4000-8000-000000000001', 'p', split_part(columns, ' = ', 2)),
  sqlstate, null, 'not inserted with ' || columns
) from forged;
select throws_ok($$ insert into public.image_generations (user_id, prompt)
  values ('bbbbbbbb-0000-4000-8000-000000000002', 'p') $$,
  'PT403', 'This row is somebody else''s.', 'nor in somebody else''s name');
select throws_ok($$ insert into public.image_generations (user_id, prompt)
  values ('aaaaaaaa-0000-4000-8000-000000000001', repeat('p', 4001)) $$,
  'PT422', 'prompt is 4001 characters long; at most 4000 are allowed.', 'nor with a longer prompt than a batch has');
select throws_ok($$ insert into public.image_generations (user_id, prompt, negative_prompt)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'p', repeat('p', 4001)) $$,
  'PT422', 'negative_prompt is 4001 characters long; at most 4000 are allowed.', 'or a longer negative one');
select lives_ok($$ insert into public.image_generations (user_id, prompt, created_at)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'new', '2000-01-01') $$,
  'a single picture of one''s own');
:as_admin;
select results_eq($$ select created_at, status from public.image_generations where prompt = 'new' $$,
  $$ values (now(), 'pending') $$, 'by the database''s clock');

:as_owner;
select throws_ok($$ update public.image_generations set status = 'failed' where prompt = 'their secret' $$, 'PT403',
  'This row is somebody else''s.', 'no item of somebody else');
select throws_ok($$ update public.image_generations set prompt = 'other' where prompt = 'a blue bird' $$, 'PT403',
  'prompt is not set by hand.', 'a prompt stays');
select throws_ok($$ update public.image_generations set status = 'completed' where prompt = 'a blue bird' $$, 'PT403',
  'status is not set by hand.', 'nothing is completed by hand');
select throws_ok($$ update public.image_generations set error_message = 'x' where prompt = 'a red fox' $$, 'PT403',
  'error_message is not set by hand.', 'nor a message');
select throws_ok($$ delete from public.image_generations where prompt = 'a blue bird' $$, 'PT403',
  'DELETE on image_generations is not for users.', 'no item is deleted');

select lives_ok(
  $$ update public.image_generations set status = 'pending', error_message = null, retry_count = 0
     where batch_id = 'ba7c0000-0000-4000-8000-000000000001' and status = 'failed' $$,
  'the app''s retry'
);
:as_admin;
select bag_eq(
  $$ select prompt, status from public.image_generations where prompt in ('failed', 'blocked') $$,
  $$ values ('failed', 'pending'), ('blocked', 'failed') $$,
    'queues what failed, and not what the provider''s policy blocked'
);
select results_eq(
  $$ select hourly_generations_count from public.user_rate_limits
    where user_id = 'aaaaaaaa-0000-4000-8000-000000000001' $$, $$ values (2) $$,
  'and counts against the limits, as the single one does'
);
update public.user_rate_limits set hourly_generations_limit = 1;
update public.image_generations set status = 'failed' where prompt = 'failed';
:as_owner;
select throws_ok($$ update public.image_generations set status = 'pending' where prompt = 'failed' $$, 'PT429', null,
  'which hold for it');

select lives_ok(
  $$ update public.image_generations set status = 'failed', error_message = 'Cancelled by user'
     where batch_id = 'ba7c0000-0000-4000-8000-000000000001' and status = 'pending' $$,
  'the app''s cancel'
);
:as_admin;
select results_eq(
  $$ select g.status, g.error_message, f.code from public.image_generations g
    join batchgen.failures f on f.generation_id = g.id where g.prompt = 'a blue bird' $$,
  $$ values ('failed', 'Cancelled by user', 'cancelled') $$, 'ends what waits'
);
select results_eq(
  $$ select status from public.image_generations where prompt = 'running' $$, $$ values ('failed') $$,
    'and asks for the end of what runs'
);
:as_owner;
select lives_ok($$ update public.image_generations set status = 'failed', error_message = 'gave up'
  where prompt = 'a single picture' $$, 'a single picture is given up');
:as_admin;
select results_eq($$ select status, error_message from public.image_generations where prompt = 'a single picture' $$,
  $$ values ('failed', 'gave up') $$, 'with the app''s own words');

select * from finish();
rollback;
