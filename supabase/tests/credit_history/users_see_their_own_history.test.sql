begin;
\ir ../setup.psql
select plan(12);
insert into batchgen.credit_ledger (user_id, entry, amount, key, note)
select 'aaaaaaaa-0000-4000-8000-000000000001', 'grant', n, 'g' || n, 'grant ' || n from generate_series(1, 5) n;
insert into batchgen.credit_ledger (user_id, entry, amount, key)
values ('bbbbbbbb-0000-4000-8000-000000000002', 'grant', 99, 'b');
create function pg_temp.amounts(p_answer jsonb) returns jsonb language sql as $$
  select jsonb_path_query_array(p_answer, '$.entries[*].credits')
$$;

:as_anon;
select throws_ok($$ select public.credit_history() $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.credit_history() $$, 'PT401', null, 'a token without a user is told to sign in');
:as_other;
select throws_ok($$ select public.credit_history(p_user_id => 'aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404', null,
  'nobody asks about another');
select throws_ok(
  $$ select batchgen_api.credit_history_of_any_user('aaaaaaaa-0000-4000-8000-000000000001', null, 5) $$, '42501', null,
  'the function behind it does not bypass the check'
);
:as_owner;
select is(pg_temp.amounts(public.credit_history()), '[5, 4, 3, 2, 1]', 'the newest entry comes first');
select is(public.credit_history() -> 'next', 'null', 'a page that is not full is the last one');
select is(
  pg_temp.amounts(public.credit_history((public.credit_history(null, 2) ->> 'next')::bigint, 2)), '[3, 2]',
  'a page begins after the page before'
);
select is(
  (public.credit_history(null, 1) #> '{entries,0}') - '{id,noted_at}'::text[],
  '{"entry": "grant", "credits": 5, "note": "grant 5"}', 'an entry has its note, but not its key'
);
select throws_ok($$ select public.credit_history(null, 0) $$, 'PT422', null, 'at least one entry');
select throws_ok($$ select public.credit_history(null, 201) $$, 'PT422', null, 'at most 200 entries');
:as_service;
select is(
  pg_temp.amounts(public.credit_history(p_user_id => 'bbbbbbbb-0000-4000-8000-000000000002')), '[99]',
  'an operator asks about anybody'
);
select throws_ok($$ select public.credit_history() $$, 'PT404', null, 'an operator names a user');

select * from finish();
rollback;
