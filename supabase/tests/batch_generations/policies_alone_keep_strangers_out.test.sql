-- Statements without a condition and without RETURNING need no SELECT policy: each policy stands alone.
begin;
\ir ../setup.psql
\ir ../policies_alone.psql
select plan(8);

:as_other;
select throws_ok($$ insert into public.batch_generations (user_id, total_count)
  values ('bbbbbbbb-0000-4000-8000-000000000002', 1) $$,
  '42501', null, 'nobody inserts a batch, not even their own');
select lives_ok($$ update public.batch_generations set model_version = 'changed' $$, 'an update of all');
:as_admin;
select results_eq($$ select name from public.batch_generations where model_version = 'changed' $$,
  $$ values ('theirs') $$, 'an update of all changes the caller''s own batches');
:as_other;
select throws_ok($$ update public.batch_generations set user_id = 'aaaaaaaa-0000-4000-8000-000000000001' $$, '42501',
  null, 'nobody gives a batch away');
:as_anon;
select lives_ok($$ update public.batch_generations set model_version = 'anon'; delete from public.batch_generations $$,
  'an update and a deletion of all by anon');
:as_admin;
select is_empty($$ select from public.batch_generations where model_version = 'anon' $$, 'anon changes nothing');
:as_other;
select lives_ok($$ delete from public.batch_generations $$, 'a deletion of all');
:as_admin;
select results_eq($$ select name from public.batch_generations $$, $$ values ('hers') $$,
  'a deletion of all deletes the caller''s own batches');

select * from finish();
rollback;
