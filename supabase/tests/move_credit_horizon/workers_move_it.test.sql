begin;
\ir ../setup.psql
select plan(4);

:as_owner;
select throws_ok($$ select public.move_credit_horizon() $$, '42501', null, 'a user does not call it');
:as_admin;
insert into batchgen.credit_ledger (user_id, entry, amount, key)
values ('aaaaaaaa-0000-4000-8000-000000000001', 'grant', 10, 'a');
select isnt_empty(
  $$ select 1 from pg_locks where pid = pg_backend_pid() and locktype = 'advisory' and mode = 'ShareLock' $$,
  'a transaction that writes to the ledger is registered'
);
:as_service;
select ok(public.move_credit_horizon(), 'no other transaction writes');
:as_admin;
select is(ledger_id, (select max(id) from batchgen.credit_ledger), 'the ledger is complete up to here')
from batchgen.credit_horizon;

select * from finish();
rollback;
