begin;
\ir ../setup.psql
select plan(8);

:as_anon;
select throws_ok($$ select public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 5) $$, '42501', null,
  'anon is refused');
:as_service;
select throws_ok($$ select public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 5) $$, '42501', null,
  'operators rate nothing');
:as_no_user;
select throws_ok($$ select public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 5) $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok(
  $$ select public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 5) $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'somebody else''s batch'
);
:as_owner;
select throws_ok($$ select public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 6) $$, 'PT422',
  'p_stars is out of range: it must be from 1 to 5.', 'at most five stars');
select throws_ok($$ select public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 5, repeat('x', 501)) $$, 'PT422',
  'p_comment is 501 characters long; at most 500 are allowed.', 'a sentence, not a book');
select is(public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 5, 'Lovely.') ->> 'comment', 'Lovely.', 'rated');
select is(public.rate_batch('ba7c0000-0000-4000-8000-000000000001', 3) ->> 'stars', '3', 'and changed');

select * from finish();
rollback;
