begin;
\ir ../setup.psql
\ir ../lease.psql
create function pg_temp.beginning(p_lease text, p_order text) returns text language sql as $$
  select format('select public.begin_order(%L, %L, %L)', '17e30000-0000-4000-8000-000000000002', p_lease, p_order)
$$;
\set held '1ea5e000-0000-4000-8000-000000000001'
\set order '{"provider": "replicate", "model": "owner/name", "inputs": {"prompt": "a", "seed": 7}}'
select plan(12);

:as_anon;
select throws_ok(pg_temp.beginning(:'held', :'order'), '42501', null, 'anon orders nothing');
:as_owner;
select throws_ok(pg_temp.beginning(:'held', :'order'), '42501', null, 'a user orders nothing');
:as_service;
select throws_ok(pg_temp.beginning(:'held', '{"inputs": {}}'), 'PT422', null, 'an order names its provider');
select throws_ok(pg_temp.beginning(:'held', '{"provider": "replicate", "inputs": []}'), 'PT422', null,
  'an order''s inputs are an object');
select throws_ok(pg_temp.beginning(gen_random_uuid()::text, :'order'), 'PT409', null, 'another lease orders nothing');
select lives_ok(pg_temp.beginning(:'held', :'order'), 'a held lease orders');
:as_admin;
select results_eq(
  $$ select o.provider, o.provider_model, o.inputs, o.provider_job_id from batchgen.orders o
    join batchgen.queue q on q.order_key = o.key $$,
  $$ values ('replicate', 'owner/name', '{"seed": 7, "prompt": "a"}'::jsonb, null::text) $$,
    'the order is recorded before anything is sent'
);
select key from batchgen.orders \gset
:as_service;
select results_eq(pg_temp.beginning(:'held', :'order'), format('values (%L::uuid)', :'key'),
  'an order that never arrived keeps its key');
select lives_ok(
  $$ select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
    'replicate', 'job') $$,
  'the order''s job is attached'
);
:as_admin;
select results_eq($$ select provider_job_id from batchgen.orders $$, $$ values ('job') $$,
  'the job is attached to the order, too');
select is(count(*), 1::bigint, 'there is one order') from batchgen.orders;
update batchgen.queue set lease_expires_at = now() - interval '1 second' where lease_id is not null;
:as_service;
select throws_ok(pg_temp.beginning(:'held', :'order'), 'PT409', null, 'a lease past its end orders nothing');

select * from finish();
rollback;
