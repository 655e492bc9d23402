begin;
\ir ../setup.psql
select plan(10);
update batchgen.settings set credits = true, monthly_credits = 5;
update public.models set cost_per_generation = 2 where is_default;
insert into batchgen.credit_ledger (user_id, entry, amount, key) values
  ('aaaaaaaa-0000-4000-8000-000000000001', 'grant', 10, 'a'),
  ('bbbbbbbb-0000-4000-8000-000000000002', 'grant', 99, 'b');
update public.image_generations set model_id = (select id from public.models where is_default);

:as_anon;
select throws_ok($$ select public.get_credits() $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.get_credits() $$, 'PT401', null, 'a token without a user is told to sign in');
:as_other;
select throws_ok($$ select public.get_credits('aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404', null,
  'nobody asks about another');
select throws_ok($$ select batchgen_api.credits_of_any_user('aaaaaaaa-0000-4000-8000-000000000001') $$, '42501', null,
  'the function behind it does not bypass the check');
:as_owner;
select is(
  public.get_credits() - 'prices',
  '{"is_on": true, "balance": 10, "held": 0, "available": 10, "monthly_credits": 5}', 'a user sees her own'
);
select is(public.get_credits('aaaaaaaa-0000-4000-8000-000000000001'), public.get_credits(),
  'a user may name herself');
select is(
  jsonb_path_query_array(public.get_credits(), '$.prices[*] ? (@.name == "offline-sketch").credits'), '[2]',
  'prices are those of active models'
);
:as_admin;
insert into batchgen.credit_prices (user_id, credits) values ('aaaaaaaa-0000-4000-8000-000000000001', 0.5);
insert into batchgen.credit_terms values ('aaaaaaaa-0000-4000-8000-000000000001', 7);
:as_owner;
select is(
  jsonb_path_query_array(public.get_credits(), '$.prices[*] ? (@.name == "offline-sketch").credits')
    || (public.get_credits() -> 'monthly_credits'), '[0.5, 7]', 'a user''s own terms count'
);
:as_service;
select is(public.get_credits('bbbbbbbb-0000-4000-8000-000000000002') ->> 'balance', '99',
  'an operator asks about anybody');
select throws_ok($$ select public.get_credits() $$, 'PT404', null, 'an operator names a user');

select * from finish();
rollback;
