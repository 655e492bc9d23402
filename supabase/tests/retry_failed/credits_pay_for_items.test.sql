begin;
\ir ../setup.psql
select plan(6);
update public.image_generations set status = 'failed', model_id = (select id from public.models where is_default)
where id = '17e30000-0000-4000-8000-000000000002';
update batchgen.settings set credits = true;
update public.models set cost_per_generation = 2 where is_default;
insert into batchgen.credit_ledger (user_id, entry, amount, key)
values ('aaaaaaaa-0000-4000-8000-000000000001', 'grant', 1, 'a');

:as_owner;
select throws_ok($$ select public.retry_failed('ba7c0000-0000-4000-8000-000000000001') $$, 'PT402',
  'Not enough credits: 2 needed, 1 available.', 'a retry that costs too much is refused');
select throws_ok(
  $$ update public.image_generations set status = 'pending' where id = '17e30000-0000-4000-8000-000000000002' $$,
  'PT402', 'Not enough credits: 2 needed, 1 available.', 'the app''s own one, too'
);
:as_admin;
select is((select status from public.image_generations where id = '17e30000-0000-4000-8000-000000000002'), 'failed',
  'a refused retry changes nothing');
insert into batchgen.credit_ledger (user_id, entry, amount, key)
values ('aaaaaaaa-0000-4000-8000-000000000001', 'grant', 1, 'b');
:as_owner;
select is(public.retry_failed('ba7c0000-0000-4000-8000-000000000001') -> 'done' -> 0 ->> 'action', 'requeued',
  'a retry that can be paid is queued');
:as_admin;
select is((select held from batchgen.credit_balances), 2::numeric, 'a retried item is held');
update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000002';
update batchgen.settings set credits = false;
:as_owner;
select is(public.retry_failed('ba7c0000-0000-4000-8000-000000000001') -> 'done' -> 0 ->> 'action', 'requeued',
  'while credits are off nobody pays');

select * from finish();
rollback;
