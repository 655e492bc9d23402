begin;
\ir ../setup.psql
select plan(7);

:as_anon;
select throws_ok($$ select public.get_user_limits('aaaaaaaa-0000-4000-8000-000000000001') $$, '42501', null,
  'anon is refused');
:as_no_user;
select throws_ok($$ select public.get_user_limits('aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok($$ select public.get_user_limits('aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404', null,
  'nobody asks about another');
select throws_ok($$ select batchgen_api.limits_of_any_user('aaaaaaaa-0000-4000-8000-000000000001') $$, '42501', null,
  'the function behind it does not bypass the check');
:as_owner;
select is(public.get_user_limits('aaaaaaaa-0000-4000-8000-000000000001') ->> 'can_generate', 'true',
  'a user asks about herself');
:as_service;
select is(public.get_user_limits('bbbbbbbb-0000-4000-8000-000000000002') ->> 'daily_used', '0',
  'an operator asks about anybody');
select throws_ok($$ select public.get_user_limits('aaaaaaaa-0000-4000-8000-00000000ffff') $$, 'PT404', null,
  'an operator asks about users that exist');

select * from finish();
rollback;
