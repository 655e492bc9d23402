begin;
\ir ../setup.psql
\ir ../lease.psql
insert into batchgen.workers (worker, lease_seconds, version, providers) values ('w', 60, '1.0', '{offline}');
insert into batchgen.workers (worker, lease_seconds, last_seen) values
  ('asleep', 60, now() - interval '31 seconds'), ('slow', 600, now() - interval '59 seconds'),
    ('gone', 60, now() - interval '25 hours');
select plan(4);

:as_anon;
select throws_ok($$ select public.get_workers() $$, '42501', null, 'anon sees no worker');
:as_owner;
select throws_ok($$ select public.get_workers() $$, '42501', null, 'a user sees no worker');
:as_service;
select results_eq(
  $$ select worker, is_live, running, version, providers from public.get_workers() $$,
  $$ values ('w', true, 1, '1.0', '{offline}'::text[]), ('slow', true, 0, null, null),
    ('asleep', false, 0, null, null) $$,
  'running workers of a day come first; one with long leases may be silent longer'
);
select cmp_ok((select max(seconds_ago) from public.get_workers()), '>=', 59::double precision,
  'each worker says for how long it has been silent');

select * from finish();
rollback;
