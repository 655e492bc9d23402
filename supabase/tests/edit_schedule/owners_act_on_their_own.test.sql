begin;
\ir ../setup.psql
\ir ../schedule.psql
select plan(6);

:as_anon;
select throws_ok(format($$ select public.edit_schedule(%L, '{"name": "foxes"}') $$, :'schedule'), '42501', null,
  'anon is refused');
:as_no_user;
select throws_ok(format($$ select public.edit_schedule(%L, '{"name": "foxes"}') $$, :'schedule'), 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok(format($$ select public.edit_schedule(%L, '{"name": "foxes"}') $$, :'schedule'), 'PT404',
  'Schedule not found, or it belongs to another user.', 'somebody else''s schedule');
select throws_ok(format($$ select public.edit_schedule(%L, '{"name": "foxes"}') $$, gen_random_uuid()), 'PT404',
  'Schedule not found, or it belongs to another user.', 'is answered as one that does not exist');
:as_service;
select lives_ok(format($$ select public.edit_schedule(%L, '{"name": "foxes"}') $$, :'schedule'), 'an operator does');
:as_owner;
select is(public.edit_schedule(:'schedule', '{"name": "foxes"}') -> 'schedule' ->> 'name', 'foxes', 'an owner does');

select * from finish();
rollback;
