begin;
\ir ../setup.psql
\ir ../policies_alone.psql
select plan(11);

:as_other;
select lives_ok($$ insert into public.image_generations (user_id, prompt)
  values ('bbbbbbbb-0000-4000-8000-000000000002', 'single') $$, 'a single picture of one''s own');
select throws_ok($$ insert into public.image_generations (user_id, prompt)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'forged') $$,
  '42501', null, 'not in somebody else''s name');
select throws_ok(
  $$ insert into public.image_generations (user_id, prompt, batch_id)
    values ('bbbbbbbb-0000-4000-8000-000000000002', 'free', 'ba7c0000-0000-4000-8000-000000000002') $$,
  '42501', null, 'not into a batch'
);
select throws_ok($$ insert into public.image_generations (user_id, prompt, status)
  values ('bbbbbbbb-0000-4000-8000-000000000002', 'done', 'completed') $$,
  '42501', null, 'not as one that is done');
select lives_ok($$ update public.image_generations set style = 'changed' $$, 'an update of all');
:as_admin;
select bag_eq($$ select prompt from public.image_generations where style = 'changed' $$,
  $$ values ('their secret'), ('single') $$, 'an update of all changes the caller''s own items');
:as_other;
select throws_ok($$ update public.image_generations set user_id = 'aaaaaaaa-0000-4000-8000-000000000001' $$, '42501',
  null, 'nobody gives an item away');
select lives_ok($$ delete from public.image_generations $$, 'a deletion of all');
:as_anon;
select lives_ok($$ update public.image_generations set style = 'anon'; delete from public.image_generations $$,
  'a deletion of all by anon');
:as_admin;
select is((select count(*)::integer from public.image_generations), 5, 'deletes nothing');
select is_empty($$ select from public.image_generations where style = 'anon' $$, 'anon changes nothing');

select * from finish();
rollback;
