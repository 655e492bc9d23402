begin;
\ir ../setup.psql
select plan(8);

:as_anon;
select throws_ok($$ select public.batch_waits('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null,
  'anon is refused');
:as_no_user;
select throws_ok($$ select public.batch_waits('ba7c0000-0000-4000-8000-000000000001') $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok(
  $$ select public.batch_waits('ba7c0000-0000-4000-8000-000000000001') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'somebody else''s batch is not found'
);
select throws_ok(
  $$ select public.batch_waits('ba7c0000-0000-4000-8000-00000000ffff') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'a missing batch is refused in the same words'
);
select throws_ok(
  $$ select batchgen_api.waits_of_any_batch('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null,
    'the function behind it does not bypass the check'
);
:as_owner;
select results_eq(
  $$ select generation_id, reason from public.batch_waits('ba7c0000-0000-4000-8000-000000000001') $$,
  $$ values ('17e30000-0000-4000-8000-000000000002'::uuid, 'queue') $$,
  'the owner learns why her item waits'
);
:as_service;
select isnt_empty($$ select public.batch_waits('ba7c0000-0000-4000-8000-000000000001') $$,
  'an operator asks about any batch');
select isnt_empty($$ select public.batch_waits('ba7c0000-0000-4000-8000-000000000002') $$,
  'an operator asks about another user''s batch');

select * from finish();
rollback;
