begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
select plan(13);

:as_owner;
select throws_ok($$ insert into public.batch_generations (user_id, total_count)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 1) $$,
  'PT403', 'INSERT on batch_generations is not allowed.', 'a batch is created whole');
select throws_ok($$ update public.batch_generations set name = 'forged' where name = 'hers' $$, 'PT403',
  'name cannot be set directly.', 'nobody renames a batch');
select throws_ok($$ update public.batch_generations set total_count = 9 where name = 'hers' $$, 'PT403',
  'total_count cannot be set directly.', 'nobody changes a count');
select throws_ok($$ update public.batch_generations set failed_count = 0 where name = 'theirs' $$, 'PT403',
  'This row belongs to another user.', 'nobody updates somebody else''s batch');
select throws_ok($$ delete from public.batch_generations where name = 'theirs' $$, 'PT403',
  'This row belongs to another user.', 'nobody deletes somebody else''s batch');
select lives_ok($$ update public.batch_generations set status = 'processing', failed_count = 0 where name = 'hers' $$,
  'the app''s update after a retry is accepted');
:as_admin;
select results_eq(
  $$ select status, completed_count, failed_count from public.batch_generations where name = 'hers' $$,
    $$ values ('processing', 1, 0) $$,
  'the update after a retry changes nothing'
);
:as_owner;
select lives_ok($$ update public.batch_generations set status = 'failed', completed_at = now() where name = 'hers' $$,
  'the app''s update after a cancel is accepted');
:as_admin;
select results_eq(
  $$ select status, completed_count, failed_count from public.batch_generations where name = 'hers' $$,
    $$ values ('partial', 1, 1) $$,
  'a cancel ends waiting items, and the totals follow the rows'
);
select results_eq(
  $$ select error_message from public.image_generations where prompt = 'a blue bird' $$,
    $$ values ('Cancelled by user') $$, 'a cancelled item says why'
);
select is_empty(
  $$ select from batchgen.queue where generation_id = '17e30000-0000-4000-8000-000000000002' $$,
  'a cancelled item leaves the queue'
);
:as_owner;
select lives_ok($$ delete from public.batch_generations where name = 'hers' $$, 'an owner deletes her batch');
:as_admin;
select results_eq($$ select filename from public.images order by 1 $$, $$ values ('fox.png'), ('secret.png') $$,
  'pictures of a deleted batch stay');

select * from finish();
rollback;
