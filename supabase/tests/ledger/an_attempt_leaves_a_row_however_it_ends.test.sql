begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(8);
create function pg_temp.told() returns setof text language sql as $$
  select outcome from batchgen.ledger where entry = 'attempt' order by attempt
$$;

select lives_ok($$ select public.release_generations('w', array['1ea5e000-0000-4000-8000-000000000001'::uuid]) $$,
  'an attempt is handed back');
select results_eq($$ select * from pg_temp.told() $$, $$ values ('handed_back') $$, 'a released attempt leaves a row');
\ir ../lease.psql
update batchgen.queue set lease_expires_at = now() - interval '1 second' where lease_id is not null;
select public.return_expired_leases();
select results_eq($$ select * from pg_temp.told() $$, $$ values ('handed_back'), ('crashed') $$,
  'a crashed attempt leaves a row');
\ir ../lease.psql
select public.begin_order('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
  '{"provider": "replicate"}');
select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
  'replicate', 'job');
select public.fail_generation('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
  '{"code": "generation_failed", "message": "No.", "retryable": true, "order": {"over": true, "charged": false}}');
select results_eq(
  $$ select outcome, is_charged from batchgen.ledger where attempt = 3 $$, $$ values ('generation_failed', false) $$,
    'a failed attempt leaves a row with its charge'
);
select is_empty($$ select 1 from batchgen.orders $$, 'the order of a failed attempt is over');
\ir ../lease.psql
select public.begin_order('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
  '{"provider": "replicate"}');
update batchgen.orders set price_usd = 0.04;
select public.attach_provider_job('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
  'replicate', 'job');
delete from public.image_generations where id = '17e30000-0000-4000-8000-000000000002';
select results_eq($$ select outcome, is_charged from batchgen.ledger where attempt = 4 $$,
  $$ values ('deleted', null::boolean) $$, 'the attempt of a deleted item leaves a row');
select results_eq($$ select ended_at is not null from batchgen.orders $$, $$ values (true) $$,
  'a deleted item''s order is asked about');
select is(sum(amount_usd), 0::numeric, 'nothing is known to have been paid') from batchgen.ledger;

select * from finish();
rollback;
