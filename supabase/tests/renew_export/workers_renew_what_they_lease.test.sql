begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(7);

:as_anon;
select throws_ok($$ select public.renew_export(null, null, 60, 0) $$, '42501', null, 'anon renews nothing');
:as_owner;
select throws_ok($$ select public.renew_export(null, null, 60, 0) $$, '42501', null, 'nor does a user');
:as_service;
select throws_ok(format('select public.renew_export(%L, gen_random_uuid(), 60, 1)', :export), 'PT409', null,
  'a lease of another worker is lost');
select throws_ok(format('select public.renew_export(gen_random_uuid(), %L, 60, 1)', :lease), 'PT409', null,
  'as is one of another export');
select throws_ok(format('select public.renew_export(%L, %L, 0, 1)', :export, :lease), 'PT422', null,
  'a lease has a length');
select lives_ok(format('select public.renew_export(%L, %L, 600, 1)', :export, :lease), 'the worker renews its lease');
:as_admin;
select results_eq(
  $$ select e.done_count, e.lease_expires_at > now() + interval '9 minutes' from batchgen.exports e $$,
  $$ values (1, true) $$, 'the lease is longer, and the progress is known'
);

select * from finish();
rollback;
