begin;
\ir ../setup.psql
select plan(5);

:as_owner;
select is(public.get_batch_rating('ba7c0000-0000-4000-8000-000000000001'), null, 'not rated');
select public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 4);
select is(public.get_batch_rating('ba7c0000-0000-4000-8000-000000000001') ->> 'stars', '4', 'rated');
:as_other;
select throws_ok($$ select public.get_batch_rating('ba7c0000-0000-4000-8000-000000000001') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'somebody else''s batch');
:as_no_user;
select throws_ok($$ select public.get_batch_rating('ba7c0000-0000-4000-8000-000000000001') $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_anon;
select throws_ok($$ select public.get_batch_rating('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null,
  'anon is refused');

select * from finish();
rollback;
