-- Whoever writes into the private tables by hand: no value makes the arithmetic of claims, waits and views overflow.
begin;
\ir ../setup.psql
select plan(17);

:as_admin;
create function pg_temp.refuses(p_sql text, p_table text, p_constraint text) returns setof text language sql as $$
  select throws_ok(
    p_sql, '23514', format('new row for relation "%s" violates check constraint "%s"', p_table, p_constraint),
    p_table || ': ' || p_constraint
  )
$$;
select pg_temp.refuses(sql, name, checked) from (values
  ('update batchgen.queue set priority = 2000000000', 'queue', 'priority_in_range'),
  ('update batchgen.queue set crash_count = -1', 'queue', 'counts_in_range'),
  ('update batchgen.queue set due_at = ''infinity''', 'queue', 'times_in_range'),
  ('update batchgen.queue set provider = repeat(''x'', 201), provider_job_id = ''j''', 'queue',
    'provider_job_is_bounded'),
  ('update batchgen.turns set suspects_in_a_row = 2', 'turns', 'suspects_in_a_row_in_range'),
  ('insert into batchgen.batch_templates (name, request) values ('''', ''{}'')', 'batch_templates', 'name_is_short'),
  ('insert into batchgen.batch_templates (name, request) values (''n'', ''[]'')', 'batch_templates',
    'request_is_an_object'),
  ('insert into batchgen.batch_templates (name, request, defaults) values (''n'', ''{}'', ''[]'')', 'batch_templates',
    'defaults_are_an_object'),
  ('insert into batchgen.providers (name, not_before) values (''p'', ''infinity'')', 'providers',
    'not_before_in_range'),
  ('insert into batchgen.providers (name, not_before, refusals) values (''p'', now(), -1)', 'providers',
    'refusals_in_range'),
  ('insert into batchgen.breakers (model_id, opened_until) values (gen_random_uuid(), ''infinity'')', 'breakers',
    'opened_until_in_range'),
  ('insert into batchgen.model_providers (model_id, provider) select id, repeat(''x'', 201) from public.models',
    'model_providers', 'texts_are_bounded'),
  ('insert into batchgen.storage_deletions (path, attempts) values (''p'', -1)', 'storage_deletions',
    'deletion_attempts_in_range'),
  ('insert into batchgen.ledger (generation_id, attempt, entry, outcome, user_id, model_id, provider, price_usd)'
    ' values (gen_random_uuid(), 1, ''attempt'', ''o'', gen_random_uuid(), gen_random_uuid(), ''p'', 1001)', 'ledger',
    'amounts_in_range')
) v (sql, name, checked);
select pg_temp.refuses(
  format('insert into batchgen.orders (generation_id, user_id, model_id, provider, worker, %s)'
    ' values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), ''p'', ''w'', %L)', name, value),
  'orders', checked
) from (values
  ('asked', '-1', 'asked_in_range'), ('price_usd', '1001', 'order_price_in_range'),
  ('ordered_at', 'infinity', 'order_times_are_finite')
) v (name, value, checked);

select * from finish();
rollback;
