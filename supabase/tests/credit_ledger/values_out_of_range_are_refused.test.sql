-- No row of the credit tables can make a balance wrong, whoever writes it.
begin;
\ir ../setup.psql
select plan(15);

create function pg_temp.refuses(p_sql text, p_table text, p_constraint text, p_case text)
returns setof text language sql as $$
  select throws_ok(
    p_sql, '23514', format('new row for relation "%s" violates check constraint "%s"', p_table, p_constraint),
    format('%s: %s: %s', p_table, p_constraint, p_case)
  )
$$;
select pg_temp.refuses(
  format('insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run, key, note)'
    ' values (gen_random_uuid(), %L, %L, %L, %L, %L, %L)', entry, amount, item, run, key, note),
  'credit_ledger', checked, format('%s %s %s', entry, amount, run)
) from (values
  ('gift', 1, null, null, 'k', null, 'credit_entry_is_known'),
  ('grant', 0, null, null, 'k', null, 'only_adjustments_are_negative'),
  ('grant', -1, null, null, 'k', null, 'only_adjustments_are_negative'),
  ('adjust', 0, null, null, 'k', null, 'only_adjustments_are_negative'),
  ('grant', 1, null, null, '', null, 'credit_key_is_bounded'),
  ('grant', 1, null, null, 'k', repeat('x', 501), 'credit_note_is_bounded'),
  ('grant', 1, null, null, null, null, 'items_have_a_run_and_others_a_key'),
  ('hold', 1, null, null, 'k', null, 'items_have_a_run_and_others_a_key'),
  ('hold', 1, '17e30000-0000-4000-8000-000000000001', null, null, null, 'items_have_a_run_and_others_a_key'),
  ('hold', 1, '17e30000-0000-4000-8000-000000000001', 0, null, null, 'runs_count_from_1')
) v (entry, amount, item, run, key, note, checked);
select pg_temp.refuses(sql, name, checked, left(sql, 6)) from (values
  ('insert into batchgen.credit_terms values (''aaaaaaaa-0000-4000-8000-000000000001'', -1)', 'credit_terms',
    'own_monthly_credits_in_range'),
  ('insert into batchgen.credit_prices (user_id, credits) values (''aaaaaaaa-0000-4000-8000-000000000001'', -1)',
    'credit_prices', 'credit_price_in_range'),
  ('insert into batchgen.credit_horizon (id) values (false)', 'credit_horizon', 'credit_horizon_has_one_row'),
  ('insert into batchgen.credit_schedule (id) values (false)', 'credit_schedule', 'credit_schedule_has_one_row'),
  ('update batchgen.settings set monthly_credits = -1', 'settings', 'monthly_credits_in_range')
) v (sql, name, checked);

select * from finish();
rollback;
