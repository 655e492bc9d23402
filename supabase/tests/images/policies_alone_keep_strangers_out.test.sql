begin;
\ir ../setup.psql
\ir ../policies_alone.psql
select plan(8);

:as_other;
select lives_ok($$ insert into public.images (user_id, filename, storage_path, prompt)
  values ('bbbbbbbb-0000-4000-8000-000000000002', 'n', 'n', 'p') $$, 'a row of one''s own');
select throws_ok($$ insert into public.images (user_id, filename, storage_path, prompt)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'n', 'n', 'p') $$,
  '42501', null, 'not in somebody else''s name');
select lives_ok($$ update public.images set style = 'changed' $$, 'an update of all');
:as_admin;
select bag_eq($$ select filename from public.images where style = 'changed' $$, $$ values ('secret.png'), ('n') $$,
  'an update of all changes the caller''s own pictures');
:as_other;
select throws_ok($$ update public.images set user_id = 'aaaaaaaa-0000-4000-8000-000000000001' $$, '42501', null,
  'nobody gives a picture away');
select lives_ok($$ delete from public.images $$, 'a deletion of all');
:as_anon;
select lives_ok($$ update public.images set style = 'anon'; delete from public.images $$,
  'an update and a deletion of all by anon');
:as_admin;
select results_eq($$ select filename, style from public.images $$, $$ values ('fox.png', null) $$, 'delete their own');

select * from finish();
rollback;
