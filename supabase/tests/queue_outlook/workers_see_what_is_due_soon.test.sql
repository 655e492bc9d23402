begin;
\ir ../setup.psql
select plan(13);

:as_anon;
select throws_ok($$ select public.queue_outlook() $$, '42501', null, 'anon sees nothing');
:as_owner;
select throws_ok($$ select public.queue_outlook() $$, '42501', null, 'a user sees nothing');

-- Two items wait: hers, with a model, and theirs.
reset role;
insert into public.models (id, name, display_name, replicate_id, is_active)
values ('30de1000-0000-4000-8000-000000000001', 'm1', 'M1', 'me/m1', true);
update batchgen.queue set model_id = '30de1000-0000-4000-8000-000000000001'
where generation_id = '17e30000-0000-4000-8000-000000000002';
:as_service;
select is(
  public.queue_outlook(),
  '{"due_in_seconds": null, "delayed": 0, "paused": 0, "waiting": 2, "running": 0, "closed": []}',
  'of what is due there is no time to wait for'
);

reset role;
update batchgen.queue set state = 'delayed', ready_rank = null, due_at = clock_timestamp() + interval '100 seconds'
where generation_id = '17e30000-0000-4000-8000-000000000002';
:as_service;
select ok((public.queue_outlook() ->> 'due_in_seconds')::numeric between 90 and 100, 'a retry says when it is due');
select is((public.queue_outlook() ->> 'delayed')::integer, 1, 'a retry is counted');

-- Its model is closed for longer than that.
reset role;
insert into batchgen.breakers (model_id, opened_until, reason)
values ('30de1000-0000-4000-8000-000000000001', clock_timestamp() + interval '200 seconds', 'provider_unavailable');
:as_service;
select ok((public.queue_outlook() ->> 'due_in_seconds')::numeric between 190 and 200, 'the longer of two waits counts');
select is(public.queue_outlook() -> 'closed', '["M1: provider_unavailable"]',
  'closed models are named with their reason');

-- A retry whose time has come is due at once.
reset role;
delete from batchgen.breakers;
update batchgen.queue set due_at = clock_timestamp() - interval '1 second'
where generation_id = '17e30000-0000-4000-8000-000000000002';
:as_service;
select is((public.queue_outlook() ->> 'due_in_seconds')::numeric, 0.000, 'what became due meanwhile is due now');

-- Another item tries whether the model works.
reset role;
update batchgen.queue set state = 'running', ready_rank = null, worker = 'w', started_at = now(),
  lease_id = '1ea5e000-0000-4000-8000-000000000001', lease_expires_at = clock_timestamp() + interval '1 minute'
where generation_id = '17e30000-0000-4000-8000-000000000003';
insert into batchgen.breakers (model_id, opened_until, probe_lease_id)
values ('30de1000-0000-4000-8000-000000000001', clock_timestamp(), '1ea5e000-0000-4000-8000-000000000001');
:as_service;
select is(public.queue_outlook() ->> 'due_in_seconds', null, 'nobody knows when a try ends');
select is((public.queue_outlook() ->> 'running')::integer, 1, 'what runs is counted');

-- The provider of all of them asks to wait.
reset role;
delete from batchgen.breakers;
insert into batchgen.providers (name, not_before, reason)
values ('offline', clock_timestamp() + interval '50 seconds', 'provider_busy');
update batchgen.queue set state = 'parked', ready_rank = null where state = 'waiting';
:as_service;
select ok((public.queue_outlook() ->> 'due_in_seconds')::numeric between 40 and 50,
  'the end of a provider''s pause counts');
select is(public.queue_outlook() -> 'closed', '["offline: provider_busy"]', 'the provider is named once');

reset role;
delete from public.image_generations;
:as_service;
select is(
  public.queue_outlook(),
  '{"due_in_seconds": null, "delayed": 0, "paused": 0, "waiting": 0, "running": 0, "closed": []}',
  'an empty queue has nothing to wait for'
);

select * from finish();
rollback;
