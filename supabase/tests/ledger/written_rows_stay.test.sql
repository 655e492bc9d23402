begin;
\ir ../setup.psql
\ir ../open_order.psql
select plan(10);

select throws_ok($$ update batchgen.ledger set is_charged = false $$, 'PT422', null, 'a row is not changed');
select throws_ok($$ delete from batchgen.ledger $$, 'PT422', null, 'a row is not deleted');
select throws_ok($$ truncate batchgen.ledger $$, 'PT422', null, 'the ledger is not truncated');
create function pg_temp.writing(p_what text) returns text language sql as $$
  select format(
    'insert into batchgen.ledger (
      generation_id, attempt, entry, outcome, user_id, model_id, provider, is_charged, amount_usd)
     values (''17e30000-0000-4000-8000-000000000001'', %s, gen_random_uuid(), gen_random_uuid(), ''p'', %s)',
    split_part(p_what, ';', 1), split_part(p_what, ';', 2)
  )
$$;
select throws_ok(pg_temp.writing('1, ''attempt'', ''again'';false, 0'), '23505', null, 'an attempt has one row');
select throws_ok(pg_temp.writing('0, ''attempt'', ''none'';false, 0'), '23514', null, 'attempts count from 1');
select throws_ok(pg_temp.writing('2, ''guess'', ''none'';false, 0'), '23514', null,
  'an entry is an attempt or a settlement');
select throws_ok(pg_temp.writing('2, ''attempt'', ''x'';false, 0.04'), '23514', null,
  'an attempt that is not charged costs nothing');
select throws_ok(pg_temp.writing('2, ''attempt'', ''x'';null, 0.04'), '23514', null, 'an unknown charge costs nothing');
select lives_ok(pg_temp.writing('2, ''attempt'', ''x'';true, 0.04'), 'a charged attempt may cost something');
select throws_ok($$ select batchgen.note_charge('17e30000-0000-4000-8000-000000000001', 2, false) $$, 'PT404', null,
  'a person decides only what is open');

select * from finish();
rollback;
