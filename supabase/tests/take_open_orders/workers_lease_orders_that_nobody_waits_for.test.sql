begin;
\ir ../setup.psql
\ir ../open_order.psql
select plan(9);

:as_anon;
select throws_ok($$ select public.take_open_orders('w', 5, 60) $$, '42501', null, 'anon takes nothing');
:as_owner;
select throws_ok($$ select public.take_open_orders('w', 5, 60) $$, '42501', null, 'a user takes nothing');
:as_service;
select throws_ok($$ select public.take_open_orders('', 5, 60) $$, 'PT422', null, 'a worker has a name');
select throws_ok($$ select public.take_open_orders('w', 1001, 60) $$, 'PT422', null, 'a handful is enough');
select is_empty($$ select public.take_open_orders('another', 5, 60) $$,
  'the worker that sent an order is preferred at first');
select results_eq(
  $$ select provider, provider_job_id from public.take_open_orders('w', 5, 60) $$, $$ values ('replicate', 'job') $$,
    'the worker that sent an order takes it'
);
select is_empty($$ select public.take_open_orders('w', 5, 60) $$, 'once');
:as_admin;
update batchgen.orders set lease_expires_at = now() - interval '1 second', ended_at = now() - interval '1 minute';
:as_service;
select isnt_empty($$ select public.take_open_orders('another', 5, 60) $$,
  'later any worker does, when the lease has ended');
:as_admin;
update batchgen.orders set lease_id = null, lease_expires_at = null, ask_at = now() + interval '1 hour';
:as_service;
select is_empty($$ select public.take_open_orders('w', 5, 60) $$, 'no order is taken before its time');

select * from finish();
rollback;
