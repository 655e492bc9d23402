begin;
\ir ../setup.psql
\ir ../open_order.psql
select plan(9);

update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000001';
update batchgen.orders set lease_id = gen_random_uuid(), lease_expires_at = now() + interval '1 minute';
update public.image_generations set status = 'pending' where id = '17e30000-0000-4000-8000-000000000001';
select results_eq(
  $$ select order_key, provider, provider_job_id from batchgen.queue
    where generation_id = '17e30000-0000-4000-8000-000000000001' $$,
  $$ values ('0de20000-0000-4000-8000-000000000001'::uuid, 'replicate', 'job') $$,
  'a returned item has its open order again'
);
select results_eq($$ select ended_at, ask_at, lease_id from batchgen.orders $$,
  $$ values (null::timestamptz, null::timestamptz, null::uuid) $$, 'nobody else asks about the order');

select throws_ok($$ update batchgen.orders set ask_at = now() $$, '23514', null,
  'only of an open order it is known when to ask');
select throws_ok($$ update batchgen.orders set ended_at = now() $$, '23514', null,
  'of an open order it is always known when to ask');
select throws_ok($$ update batchgen.orders set lease_id = gen_random_uuid(), lease_expires_at = now() $$, '23514', null,
  'only an open order is leased');
select throws_ok($$ update batchgen.orders set ended_at = now(), ask_at = now(), lease_id = gen_random_uuid() $$,
  '23514', null, 'the lease of an order is whole');
select throws_ok($$ update batchgen.orders set provider = '' $$, '23514', null, 'an order names its provider');

update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000001';
select results_eq($$ select ended_at is not null from batchgen.orders $$, $$ values (true) $$,
  'an order is open again when its item has ended');
update batchgen.orders set is_late = true;
update public.image_generations set status = 'pending' where id = '17e30000-0000-4000-8000-000000000001';
update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000001';
select is_empty($$ select 1 from batchgen.orders $$, 'the order of an item that ran again for its picture is over');

select * from finish();
rollback;
