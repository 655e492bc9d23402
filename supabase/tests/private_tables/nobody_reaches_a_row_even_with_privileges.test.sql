-- The schema batchgen is closed and its tables are granted to nobody; behind both, a policy shows and takes no row.
-- Here the first two protections are removed for one transaction.
begin;
\ir ../setup.psql
grant usage on schema batchgen to authenticated;
grant select, insert, update, delete on all tables in schema batchgen to authenticated;

create temporary table private_tables as
select c.oid::regclass as name from pg_class c
where c.relnamespace = 'batchgen'::regnamespace and c.relkind = 'r';
grant select on private_tables to public;
insert into batchgen.touched (user_id) values ('aaaaaaaa-0000-4000-8000-000000000001');
insert into batchgen.failures (generation_id, code) values ('17e30000-0000-4000-8000-000000000001', 'failed');
insert into batchgen.requests (user_id, client_key, body_hash)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'key', 'hash');
insert into batchgen.generation_tags (generation_id, name) values ('17e30000-0000-4000-8000-000000000001', 'animals');
insert into batchgen.model_providers (model_id, provider) select id, 'replicate' from public.models limit 1;
insert into batchgen.orders (generation_id, user_id, model_id, provider, worker)
values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'replicate', 'w');
insert into batchgen.ledger (generation_id, attempt, entry, outcome, user_id, model_id, provider)
values (gen_random_uuid(), 1, 'attempt', 'completed', gen_random_uuid(), gen_random_uuid(), 'replicate');
insert into batchgen.credit_ledger (user_id, entry, amount, key)
values ('aaaaaaaa-0000-4000-8000-000000000001', 'grant', 1, 'key');
insert into batchgen.credit_checkpoints values ('aaaaaaaa-0000-4000-8000-000000000001', 0, 0, 0);
insert into batchgen.credit_terms (user_id) values ('aaaaaaaa-0000-4000-8000-000000000001');
insert into batchgen.credit_prices (user_id, credits) values ('aaaaaaaa-0000-4000-8000-000000000001', 1);
insert into batchgen.providers (name, not_before) values ('replicate', now());
insert into batchgen.exports (user_id, batch_ids, planned_bytes) values
  ('aaaaaaaa-0000-4000-8000-000000000001', '{ba7c0000-0000-4000-8000-000000000001}', 1);
insert into batchgen.storage_deletions (path) values ('aaaaaaaa-0000-4000-8000-000000000001/gone.png');
insert into batchgen.workers (worker, lease_seconds) values ('w', 60);
insert into batchgen.reopened_batches (batch_id) values ('ba7c0000-0000-4000-8000-000000000001');
insert into batchgen.trashed_images (image_id) values ('1a6e0000-0000-4000-8000-000000000001');
insert into batchgen.trashed_batches (batch_id) values ('ba7c0000-0000-4000-8000-000000000001');
insert into batchgen.batch_ratings (batch_id, stars) values ('ba7c0000-0000-4000-8000-000000000001', 5);
insert into batchgen.item_versions (generation_id) values ('17e30000-0000-4000-8000-000000000001');
insert into batchgen.batch_templates (name, request) values ('template', '{}');
insert into batchgen.breakers (model_id) select id from public.models limit 1;

insert into batchgen.batch_schedules (user_id, request, cron)
values ('aaaaaaaa-0000-4000-8000-000000000001', '{}', '0 9 * * *');
insert into batchgen.schedule_runs (schedule_id, slot, outcome, fired_at)
select id, now(), 'missed', now() from batchgen.batch_schedules;

select plan((select count(*) * 3 from private_tables)::integer);

select isnt_empty(format('select 1 from %s', name), format('%s has a row to be hidden', name)) from private_tables
  order by name::text;

:as_owner;
select is_empty(format('select 1 from %s', name), format('%s shows no row', name)) from private_tables
  order by name::text;
select throws_ok(format('insert into %s default values', name), '42501', null, format('%s takes no row', name))
  from private_tables order by name::text;

select * from finish();
rollback;
