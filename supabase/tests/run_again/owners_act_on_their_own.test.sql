begin;
\ir ../setup.psql
select plan(7);

:as_anon;
select throws_ok($$ select public.run_again('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null,
  'anon is refused');
:as_no_user;
select throws_ok($$ select public.run_again('ba7c0000-0000-4000-8000-000000000001') $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok(
  $$ select public.run_again('ba7c0000-0000-4000-8000-000000000001') $$, 'PT404',
    'Batch not found, or it belongs to another user.', 'somebody else''s batch'
);
select throws_ok(
  $$ select public.run_again('ba7c0000-0000-4000-8000-00000000ffff') $$, 'PT404',
    'Batch not found, or it belongs to another user.', 'sounds as one that is not there'
);
:as_service;
select throws_ok($$ select public.run_again('ba7c0000-0000-4000-8000-00000000ffff') $$, 'PT404', null,
  'an operator is told so, too');
select is(public.run_again('ba7c0000-0000-4000-8000-000000000001') -> 'batch' ->> 'name', 'hers',
  'an operator acts on any batch');
:as_owner;
select is(public.run_again('ba7c0000-0000-4000-8000-000000000001') -> 'batch' ->> 'name', 'hers',
  'an owner acts on hers');

select * from finish();
rollback;
