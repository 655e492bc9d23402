begin;
\ir ../setup.psql
select plan(7);

:as_owner;
select public.trash_batch_images('ba7c0000-0000-4000-8000-000000000001');
:as_other;
select is(public.empty_trash(), '{"images": 0, "batches": 0, "left": 0}'::jsonb, 'hers is not theirs');
select throws_ok($$ select public.empty_trash('aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404',
  'User not found, or it is not you.', 'not even by her id');
:as_no_user;
select throws_ok($$ select public.empty_trash() $$, 'PT401', null, 'a token without a user is told to sign in');
:as_anon;
select throws_ok($$ select public.empty_trash() $$, '42501', null, 'anon is refused');
:as_service;
select throws_ok($$ select public.empty_trash() $$, 'PT422', 'p_user_id is missing.', 'an operator names the user');
:as_owner;
select is(public.empty_trash(), '{"images": 1, "batches": 0, "left": 0}'::jsonb, 'she empties hers');
:as_admin;
select results_eq($$ select filename from public.images $$, $$ values ('secret.png') $$, 'pictures of others stay');

select * from finish();
rollback;
