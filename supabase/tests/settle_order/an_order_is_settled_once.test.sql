begin;
\ir ../setup.psql
\ir ../open_order.psql
update batchgen.orders set lease_id = '1ea5e000-0000-4000-8000-000000000009',
  lease_expires_at = now() + interval '1 minute';
create function pg_temp.settling(p_lease text, p_outcome text) returns text language sql as $$
  select format('select public.settle_order(%L, %L, %L)', '0de20000-0000-4000-8000-000000000001', p_lease, p_outcome)
$$;
\set held '1ea5e000-0000-4000-8000-000000000009'
select plan(11);

:as_anon;
select throws_ok(pg_temp.settling(:'held', '{}'), '42501', null, 'anon settles nothing');
:as_owner;
select throws_ok(pg_temp.settling(:'held', '{}'), '42501', null, 'a user settles nothing');
:as_service;
select throws_ok(pg_temp.settling(:'held', '[]'), 'PT422', null, 'an outcome is an object');
select results_eq(pg_temp.settling(gen_random_uuid()::text, '{"order": {"over": true}}'), 'values (false)',
  'another lease settles nothing');
select results_eq(pg_temp.settling(:'held', '{"order": {"over": false}}'), 'values (false)',
  'an order that is not over stays open');
:as_admin;
select results_eq($$ select asked, lease_id, ask_at > now() from batchgen.orders $$, $$ values (1, null::uuid, true) $$,
  'an order that is not over is asked about later');
select is_empty($$ select 1 from batchgen.ledger where entry = 'settlement' $$,
  'the ledger gets no row for an open order');
update batchgen.orders set lease_id = '1ea5e000-0000-4000-8000-000000000009',
  lease_expires_at = now() + interval '1 minute';
:as_service;
select results_eq(pg_temp.settling(:'held', '{"order": {"over": true, "charged": true, "running_seconds": 2}}'),
  'values (false)', 'an order that is over is settled');
:as_admin;
select results_eq(
  $$ select attempt, is_charged, amount_usd, running_seconds from batchgen.ledger where entry = 'settlement' $$,
  $$ values (1, true, 0.04::numeric(12, 6), 2::double precision) $$, 'the settlement has the price'
);
select is_empty($$ select 1 from batchgen.orders $$, 'a settled order is no longer open');
:as_service;
select results_eq(pg_temp.settling(:'held', '{"order": {"over": true, "charged": true}}'), 'values (false)',
  'an order is settled once');

select * from finish();
rollback;
