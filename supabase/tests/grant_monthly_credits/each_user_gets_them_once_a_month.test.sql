begin;
\ir ../setup.psql
select plan(9);
update batchgen.settings set monthly_credits = 5;
create function pg_temp.grants() returns setof numeric language sql as $$
  select l.amount from batchgen.credit_ledger l order by l.user_id, l.id
$$;

:as_owner;
select throws_ok($$ select public.grant_monthly_credits() $$, '42501', null, 'a user does not call it');
:as_service;
select is(public.grant_monthly_credits(), 0, 'credits are off');
select throws_ok($$ select public.grant_monthly_credits(0) $$, 'PT422', null, 'at least one user');
select throws_ok($$ select public.grant_monthly_credits(10001) $$, 'PT422', null, 'at most 10000 users');
:as_admin;
update batchgen.settings set credits = true;
insert into batchgen.credit_terms values ('bbbbbbbb-0000-4000-8000-000000000002', 8);
:as_service;
select is(public.grant_monthly_credits(1), 1, 'some users at a time');
select is(public.grant_monthly_credits(), 1, 'then all others');
select is(public.grant_monthly_credits(), 0, 'and then nobody');
:as_admin;
select set_eq($$ select pg_temp.grants() $$, $$ values (5::numeric), (8) $$, 'users may have terms of their own');
update batchgen.credit_schedule set next_at = '-infinity';
select is(public.grant_monthly_credits(), 0, 'later in the month nobody gets more');

select * from finish();
rollback;
