begin;
\ir ../setup.psql
\set two '{"prompts": [{"text": "a"}, {"text": "b"}]}'
select plan(7);
update batchgen.settings set credits = true;
update public.models set cost_per_generation = 2 where is_default;
create function pg_temp.grant_owner(p_credits numeric) returns void language sql as $$
  insert into batchgen.credit_ledger (user_id, entry, amount, key)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 'grant', p_credits, gen_random_uuid())
$$;

select pg_temp.grant_owner(3);
:as_owner;
select throws_ok(format('select public.create_batch(%L)', :'two'), 'PT402',
  'Not enough credits: 4 needed, 3 available.', 'a batch that costs too much is refused');
:as_service;
select throws_ok(format('select public.create_batch_as(%L, %L)', 'aaaaaaaa-0000-4000-8000-000000000001', :'two'),
  'PT402', null, 'an operator''s one, too');
:as_admin;
select is_empty($$ select 1 from batchgen.credit_ledger where entry = 'hold' $$, 'nothing is held then');
select pg_temp.grant_owner(1);
:as_owner;
select lives_ok(format('select public.create_batch(%L)', :'two'), 'a batch that can be paid is accepted');
:as_admin;
select results_eq(
  $$ select balance, held, available from batchgen.credit_balances $$,
  $$ values (4::numeric, 4::numeric, 0::numeric) $$, 'its items are held'
);
delete from public.image_generations g using batchgen.queue q where q.generation_id = g.id and q.is_held;
select results_eq(
  $$ select balance, held, available from batchgen.credit_balances $$,
  $$ values (4::numeric, 0::numeric, 4::numeric) $$, 'deleted items are released'
);
update batchgen.settings set credits = false;
select public.create_batch_as('aaaaaaaa-0000-4000-8000-000000000001', :'two');
select is((select count(*) from batchgen.credit_ledger where entry = 'hold'), 2::bigint,
  'nothing is held while credits are off');

select * from finish();
rollback;
