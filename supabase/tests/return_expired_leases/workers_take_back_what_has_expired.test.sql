begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(6);

:as_anon;
select throws_ok($$ select public.return_expired_leases() $$, '42501', null, 'anon takes nothing back');
:as_owner;
select throws_ok($$ select public.return_expired_leases() $$, '42501', null, 'a user takes nothing back');
:as_service;
select is(public.return_expired_leases(), 0, 'a lease that runs is left alone');
:as_admin;
update batchgen.queue set lease_expires_at = now() - interval '1 second' where state = 'running';
:as_service;
select is(public.return_expired_leases(), 1, 'an expired one is taken back');
:as_admin;
select results_eq(
  $$ select state::text, crash_count from batchgen.queue
    where generation_id = '17e30000-0000-4000-8000-000000000002' $$,
  $$ values ('waiting', 1) $$, 'an expired lease counts as a crash'
);
select is((select status from public.image_generations where id = '17e30000-0000-4000-8000-000000000002'), 'pending',
  'the item waits');

select * from finish();
rollback;
