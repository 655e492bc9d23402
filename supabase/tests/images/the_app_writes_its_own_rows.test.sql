begin;
\ir ../setup.psql
\ir ../stored.psql
\ir ../triggers_alone.psql
create function pg_temp.inserting(p_more text, p_path text default 'aaaaaaaa-0000-4000-8000-000000000001/new.png',
  p_user text default 'aaaaaaaa-0000-4000-8000-000000000001')
returns text language sql as $$
  select format('insert into public.images (user_id, filename, storage_path, prompt, %s) values (%L, %L, %L, %L, %L)',
    split_part(p_more, '=', 1), p_user, 'new.png', p_path, 'p', split_part(p_more, '=', 2))
$$;
select plan(17);

:as_owner;
select throws_ok(pg_temp.inserting('format=png', p_user => 'bbbbbbbb-0000-4000-8000-000000000002'), 'PT403',
  'This row belongs to another user.', 'nobody inserts in somebody else''s name');
select throws_ok(pg_temp.inserting('format=png', 'bbbbbbbb-0000-4000-8000-000000000002/secret.png'), 'PT403',
  'storage_path is outside your own folder.', 'no row stands for somebody else''s file');
select throws_ok(pg_temp.inserting('generation_id=17e30000-0000-4000-8000-000000000003'), 'PT403',
  'generation_id is not one of your single generations.', 'no row stands for somebody else''s item');
select throws_ok(pg_temp.inserting('generation_id=17e30000-0000-4000-8000-000000000002'), 'PT403',
  'generation_id is not one of your single generations.', 'no row stands for an item of a batch');
select throws_ok(pg_temp.inserting('source_image_id=1a6e0000-0000-4000-8000-000000000002'), 'PT403',
  'source_image_id is neither your own picture nor a public one.', 'no row names a hidden picture as its source');
select lives_ok(pg_temp.inserting('generation_id=17e30000-0000-4000-8000-000000000004'),
  'a picture of one''s own single generation');
select lives_ok(pg_temp.inserting('created_at=2000-01-01', 'aaaaaaaa-0000-4000-8000-000000000001/old.png'),
  'a picture that claims to be old is inserted');
:as_admin;
select is((select min(created_at) from public.images), now(), 'created_at comes from the database''s clock');
:as_owner;
select throws_ok($$ update public.images set rating = 1 where filename = 'secret.png' $$, 'PT403',
  'This row belongs to another user.', 'nobody updates somebody else''s picture');
select throws_ok($$ update public.images set storage_path = 'bbbbbbbb-0000-4000-8000-000000000002/secret.png'
  where filename = 'fox.png' $$, 'PT403', 'storage_path cannot be set directly.', 'a row keeps its file');
select throws_ok($$ update public.images set source_image_id = '1a6e0000-0000-4000-8000-000000000002'
  where filename = 'fox.png' $$, 'PT403', null, 'an update names no hidden source');
select lives_ok($$ update public.images set is_favorite = true, rating = 5 where filename = 'fox.png' $$,
  'marks are its owner''s');
select throws_ok($$ delete from public.images where filename = 'secret.png' $$, 'PT403',
  'This row belongs to another user.', 'nobody deletes another''s picture');
select throws_ok($$ truncate public.images cascade $$, 'PT403', 'TRUNCATE on images is not allowed.',
  'nobody truncates pictures');
select lives_ok($$ delete from public.images where filename = 'fox.png' $$, 'an owner deletes a picture');
:as_admin;
select results_eq(
  $$ select path, due_at > now() + interval '9 minutes' from batchgen.storage_deletions $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png', true) $$,
  'its file goes later, since the app removes it itself'
);
delete from public.images where filename = 'secret.png';
select results_eq(
  $$ select due_at <= clock_timestamp() from batchgen.storage_deletions where path like '%/secret.png' $$,
    $$ values (true) $$, 'a file goes at once if anybody else deletes the row'
);

select * from finish();
rollback;
