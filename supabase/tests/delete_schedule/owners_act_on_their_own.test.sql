begin;
\ir ../setup.psql
\ir ../schedule.psql
select plan(6);

:as_anon;
select throws_ok(format($$ select public.delete_schedule(%L) $$, :'schedule'), '42501', null,
  'anon is refused');
:as_no_user;
select throws_ok(format($$ select public.delete_schedule(%L) $$, :'schedule'), 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok(format($$ select public.delete_schedule(%L) $$, :'schedule'), 'PT404',
  'Schedule not found, or it belongs to another user.', 'somebody else''s schedule');
select throws_ok(format($$ select public.delete_schedule(%L) $$, gen_random_uuid()), 'PT404',
  'Schedule not found, or it belongs to another user.', 'is answered as one that does not exist');
:as_service;
select lives_ok(format($$ select public.pause_schedule(%L) $$, :'schedule'), 'an operator acts on any');
:as_owner;
select is(public.delete_schedule(:'schedule') ->> 'deleted', :'schedule', 'an owner does');

select * from finish();
rollback;
