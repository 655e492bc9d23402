begin;
\ir ../setup.psql
\ir ../open_order.psql
select plan(9);

:as_anon;
select throws_ok($$ select public.get_costs('day') $$, '42501', null, 'anon sees no costs');
:as_owner;
select throws_ok($$ select public.get_costs('day') $$, '42501', null, 'a user sees no costs');
:as_service;
select throws_ok($$ select public.get_costs('week') $$, 'PT422', null, 'costs are by batch, user, day or model');
select throws_ok($$ select public.get_costs('day', null, 0) $$, 'PT422', null, 'a row or more');
select throws_ok($$ select public.get_costs('day', null, 1001) $$, 'PT422', null, 'at most a thousand rows');
select results_eq(
  $$ select attempts, paid, paid_usd, unknown, unknown_usd from public.get_costs('day') $$,
  $$ values (1::bigint, 0::bigint, 0::numeric, 1::bigint, 0.04::numeric) $$, 'what nobody knows stands apart'
);
:as_admin;
select lives_ok($$ select batchgen.note_charge('17e30000-0000-4000-8000-000000000001', 1, true) $$,
  'until a person says');
:as_service;
select results_eq(
  $$ select name, attempts, paid, paid_usd, unknown from public.get_costs('batch') $$,
  $$ values ('hers', 1::bigint, 1::bigint, 0.04::numeric, 0::bigint) $$, 'what it was'
);
select is_empty($$ select public.get_costs('batch', now() + interval '1 day') $$, 'what came before is left out');

select * from finish();
rollback;
