begin;
\ir ../setup.psql
\ir ../open_order.psql
select plan(4);

:as_anon;
select throws_ok($$ select public.take_open_orders_as_json('w', 5, 60) $$, '42501', null, 'anon takes nothing');
:as_owner;
select throws_ok($$ select public.take_open_orders_as_json('w', 5, 60) $$, '42501', null, 'a user takes nothing');
:as_service;
select is(public.take_open_orders_as_json('w', 5, 60) #>> '{orders,0,provider_job_id}', 'job', 'an order is taken');
select is(public.take_open_orders_as_json('w', 5, 60), '{"orders": []}', 'once');

select * from finish();
rollback;
