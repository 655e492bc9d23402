begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(7);

:as_anon;
select throws_ok($$ select public.renew_leases('w', '{1ea5e000-0000-4000-8000-000000000001}', 60) $$, '42501', null,
  'anon renews nothing');
:as_owner;
select throws_ok($$ select public.renew_leases('w', '{1ea5e000-0000-4000-8000-000000000001}', 60) $$, '42501', null,
  'a user renews nothing');
:as_service;
select throws_ok($$ select public.renew_leases('', '{}', 60) $$, 'PT422', null, 'a worker has a name');
select throws_ok($$ select public.renew_leases('w', '{}', 86401) $$, 'PT422', null, 'a lease is at most a day');
select is_empty($$ select public.renew_leases('x', '{1ea5e000-0000-4000-8000-000000000001}', 60) $$,
  'another worker''s lease is not held');
select results_eq(
  $$ select lease_expires_at > now() + interval '50 minutes'
    from public.renew_leases('w', '{1ea5e000-0000-4000-8000-000000000001}', 3600) $$,
  $$ values (true) $$, 'one''s own is prolonged'
);
:as_admin;
update batchgen.queue set lease_expires_at = now() - interval '1 second' where lease_id is not null;
:as_service;
select is_empty($$ select public.renew_leases('w', '{1ea5e000-0000-4000-8000-000000000001}', 60) $$,
  'an expired one is lost');

select * from finish();
rollback;
