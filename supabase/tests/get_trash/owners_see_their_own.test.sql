begin;
\ir ../setup.psql
select plan(8);

:as_owner;
select public.trash_batch_images('ba7c0000-0000-4000-8000-000000000001');
select is(public.get_trash() #>> '{entries,0,image_id}', '1a6e0000-0000-4000-8000-000000000001', 'her picture');
select throws_ok($$ select public.get_trash(null, 0) $$, 'PT422',
  'p_limit is out of range: it must be from 1 to 100.', 'pages are bounded');
select throws_ok($$ select public.get_trash('x') $$, 'PT422', 'p_before does not come from get_trash.',
  'a cursor comes from a page');
:as_other;
select is(public.get_trash() -> 'entries', '[]'::jsonb, 'nobody else sees it');
select throws_ok($$ select public.get_trash(null, 20, 'aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404',
  'User not found, or it is not you.', 'not even by her id');
:as_no_user;
select throws_ok($$ select public.get_trash() $$, 'PT401', null, 'a token without a user is told to sign in');
:as_anon;
select throws_ok($$ select public.get_trash() $$, '42501', null, 'anon is refused');
:as_service;
select is(
  jsonb_array_length(public.get_trash(null, 20, 'aaaaaaaa-0000-4000-8000-000000000001') -> 'entries'), 1,
  'an operator names the user'
);

select * from finish();
rollback;
