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
  'PT403', 'This row belongs to another user.', 'nobody inserts in somebody else''s name');
select throws_ok($$ insert into public.image_generations (user_id, prompt)
  values ('aaaaaaaa-0000-4000-8000-000000000001', repeat('p', 4001)) $$,
  'PT422', 'prompt is 4001 characters long; at most 4000 are allowed.', 'a prompt is no longer than a batch''s');
select throws_ok($$ insert into public.image_generations (user_id, prompt, negative_prompt)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'p', repeat('p', 4001)) $$,
  'PT422', 'negative_prompt is 4001 characters long; at most 4000 are allowed.',
  'a negative prompt is no longer than a batch''s');
select lives_ok($$ insert into public.image_generations (user_id, prompt, created_at)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'new', '2000-01-01') $$,
  'a user inserts a single generation');
:as_admin;
select results_eq($$ select created_at, status from public.image_generations where prompt = 'new' $$,
  $$ values (now(), 'pending') $$, 'created_at comes from the database''s clock');

:as_owner;
select throws_ok($$ update public.image_generations set status = 'failed' where prompt = 'their secret' $$, 'PT403',
  'This row belongs to another user.', 'nobody updates somebody else''s item');
select throws_ok($$ update public.image_generations set prompt = 'other' where prompt = 'a blue bird' $$, 'PT403',
  'prompt cannot be set directly.', 'nobody changes a prompt');
select throws_ok($$ update public.image_generations set status = 'completed' where prompt = 'a blue bird' $$, 'PT403',
  'status cannot be set directly.', 'nothing is completed by hand');
select throws_ok($$ update public.image_generations set error_message = 'x' where prompt = 'a red fox' $$, 'PT403',
  'error_message cannot be set directly.', 'nobody writes an error message alone');
select throws_ok($$ delete from public.image_generations where prompt = 'a blue bird' $$, 'PT403',
  'DELETE on image_generations is not allowed.', 'no item is deleted');

select lives_ok(
  $$ update public.image_generations set status = 'pending', error_message = null, retry_count = 0
     where batch_id = 'ba7c0000-0000-4000-8000-000000000001' and status = 'failed' $$,
  'the app''s retry'
);
:as_admin;
select bag_eq(
  $$ select prompt, status from public.image_generations where prompt in ('failed', 'blocked') $$,
  $$ values ('failed', 'pending'), ('blocked', 'failed') $$,
    'the retry queues failed items, but none that a policy blocked'
);
select results_eq(
  $$ select hourly_generations_count from public.user_rate_limits
    where user_id = 'aaaaaaaa-0000-4000-8000-000000000001' $$, $$ values (2) $$,
  'a retry counts against the limits, like a single generation'
);
update public.user_rate_limits set hourly_generations_limit = 1;
update public.image_generations set status = 'failed' where prompt = 'failed';
:as_owner;
select throws_ok($$ update public.image_generations set status = 'pending' where prompt = 'failed' $$, 'PT429', null,
  'the limits hold for a retry');

select lives_ok(
  $$ update public.image_generations set status = 'failed', error_message = 'Cancelled by user'
     where batch_id = 'ba7c0000-0000-4000-8000-000000000001' and status = 'pending' $$,
  'the app''s cancel'
);
:as_admin;
select results_eq(
  $$ select g.status, g.error_message, f.code from public.image_generations g
    join batchgen.failures f on f.generation_id = g.id where g.prompt = 'a blue bird' $$,
  $$ values ('failed', 'Cancelled by user', 'cancelled') $$, 'the app''s cancel ends waiting items'
);
select results_eq(
  $$ select status from public.image_generations where prompt = 'running' $$, $$ values ('failed') $$,
    'the app''s cancel ends an item that no worker holds'
);
:as_owner;
select lives_ok($$ update public.image_generations set status = 'failed', error_message = 'gave up'
  where prompt = 'a single picture' $$, 'a single picture is given up');
:as_admin;
select results_eq($$ select status, error_message from public.image_generations where prompt = 'a single picture' $$,
  $$ values ('failed', 'gave up') $$, 'a single generation keeps the app''s message');

select * from finish();
rollback;
