-- Every CHECK of the queue and of the tables beside it, whoever writes.
begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(13);

select throws_ok($$ update batchgen.queue set state = 'waiting' where state = 'running' $$, '23514', null,
  'a waiting item has no lease');
select throws_ok($$ update batchgen.queue set state = 'running' where state = 'waiting' $$, '23514', null,
  'a running item has a lease');
select throws_ok($$ update batchgen.queue set worker = null where state = 'running' $$, '23514', null,
  'a lease has a worker');
select throws_ok($$ update batchgen.queue set lease_expires_at = null where state = 'running' $$, '23514', null,
  'a lease has an end');
select throws_ok($$ update batchgen.queue set started_at = null where state = 'running' $$, '23514', null,
  'a lease has a beginning');
select throws_ok($$ update batchgen.queue set ready_rank = 1 where state = 'running' $$, '23514', null,
  'a running item is not ready');
select throws_ok($$ update batchgen.queue set ready_rank = 0 where state = 'waiting' $$, '23514', null,
  'ranks begin at 1');
select throws_ok($$ update batchgen.queue set provider_job_id = 'job' $$, '23514', null, 'a job has a provider');
select throws_ok($$ update batchgen.queue set provider = 'p' $$, '23514', null, 'a provider has a job');
select throws_ok($$ insert into batchgen.model_providers (model_id, provider) select id, '' from public.models
  limit 1 $$, '23514', null, 'a provider has a name');
select throws_ok(
  $$ insert into batchgen.breakers (model_id, probe_lease_id) select id, gen_random_uuid() from public.models
    limit 1 $$,
  '23514', null, 'only an open breaker is probed'
);
select throws_ok(
  $$ insert into batchgen.storage_deletions (path, lease_id) values ('a/b.png', gen_random_uuid()) $$, '23514', null,
    'a lease on a file is whole'
);
select throws_ok(
  $$ insert into batchgen.workers (worker, lease_seconds, last_seen) values ('w', 60, 'infinity') $$, '23514', null,
    'a worker was seen at a time'
);

select * from finish();
rollback;
