begin;
\ir ../setup.psql
select plan(9);

:as_anon;
select throws_ok($$ select public.batch_details('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null,
  'anon is refused');
:as_no_user;
select throws_ok($$ select public.batch_details('ba7c0000-0000-4000-8000-000000000001') $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok(
  $$ select public.batch_details('ba7c0000-0000-4000-8000-000000000001') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'somebody else''s batch is not found'
);
select throws_ok(
  $$ select public.batch_details('ba7c0000-0000-4000-8000-00000000ffff') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'a missing batch is refused in the same words'
);
select throws_ok(
  $$ select batchgen_api.details_of_any_batch('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null,
  'the function behind it does not bypass the check'
);
:as_owner;
select is(
  public.batch_details('ba7c0000-0000-4000-8000-000000000001') -> 'batch' ->> 'name', 'hers',
  'the owner reads her batch'
);
select throws_ok($$ select public.batch_details(null) $$, 'PT404', null, 'null is no batch');
:as_service;
select is(
  public.batch_details('ba7c0000-0000-4000-8000-000000000002') -> 'batch' ->> 'name', 'theirs',
  'an operator reads any batch'
);
select throws_ok(
  $$ select public.batch_details('ba7c0000-0000-4000-8000-00000000ffff') $$, 'PT404', null,
  'an operator is told that a batch is missing'
);

select * from finish();
rollback;
