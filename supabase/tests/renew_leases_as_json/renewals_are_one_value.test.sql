begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(4);

:as_anon;
select throws_ok($$ select public.renew_leases_as_json('w', '{}', 60) $$, '42501', null, 'anon renews nothing');
:as_owner;
select throws_ok($$ select public.renew_leases_as_json('w', '{}', 60) $$, '42501', null, 'a user renews nothing');
:as_service;
select is(
  public.renew_leases_as_json('w', '{1ea5e000-0000-4000-8000-000000000001,1ea5e000-0000-4000-8000-000000000009}', 60)
    #- '{renewals,0,lease_expires_at}',
  '{"renewals": [{"lease_id": "1ea5e000-0000-4000-8000-000000000001", "cancel_requested": false}]}',
    'a lease that is held comes back'
);
select is(public.renew_leases_as_json('another', '{1ea5e000-0000-4000-8000-000000000001}', 60), '{"renewals": []}',
  'a lease is renewed for its worker alone');

select * from finish();
rollback;
