begin;
\ir ../setup.psql
select plan(7);
insert into batchgen.credit_ledger (user_id, entry, amount, key)
values ('aaaaaaaa-0000-4000-8000-000000000001', 'grant', 10, 'a');
insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run)
values ('aaaaaaaa-0000-4000-8000-000000000001', 'hold', 2, '17e30000-0000-4000-8000-000000000001', 1),
  ('aaaaaaaa-0000-4000-8000-000000000001', 'capture', 2, '17e30000-0000-4000-8000-000000000001', 1);

select throws_ok($$ update batchgen.credit_ledger set amount = 1 $$, 'PT422', null, 'no row is changed');
select throws_ok($$ delete from batchgen.credit_ledger $$, 'PT422', null, 'no row is deleted');
select throws_ok($$ truncate batchgen.credit_ledger $$, 'PT422', null, 'the table is not emptied');
select throws_ok(
  $$
    insert into batchgen.credit_ledger (user_id, entry, amount, key)
    values ('aaaaaaaa-0000-4000-8000-000000000001', 'adjust', 1, 'a')
  $$, '23505', null, 'a key counts once per user'
);
select throws_ok(
  $$
    insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run)
    values ('aaaaaaaa-0000-4000-8000-000000000001', 'hold', 2, '17e30000-0000-4000-8000-000000000001', 1)
  $$, '23505', null, 'a run is held once'
);
select throws_ok(
  $$
    insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run)
    values ('aaaaaaaa-0000-4000-8000-000000000001', 'release', 2, '17e30000-0000-4000-8000-000000000001', 1)
  $$, '23505', null, 'a captured run is not released as well'
);
select results_eq(
  $$ select balance, held, available from batchgen.credit_balances $$,
  $$ values (8::numeric, 0::numeric, 8::numeric) $$, 'a view lists the balances'
);

select * from finish();
rollback;
