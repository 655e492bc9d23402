begin;
\ir ../setup.psql
select plan(5);

:as_anon;
select throws_ok($$ select public.worker_start() $$, '42501', null, 'anon sees nothing');
:as_owner;
select throws_ok($$ select public.worker_start() $$, '42501', null, 'a user sees nothing');
:as_service;
select ok(
  public.worker_start() -> 'functions' @>
    '[{"name": "release_generations_as_json", "arguments": ["p_worker", "p_lease_ids"]}]',
  'functions come with their arguments');
select ok(not public.worker_start() -> 'functions' @> '[{"name": "create_batch"}]', 'functions for users are left out');
reset role;
update public.models set is_active = false;
insert into public.models (name, display_name, replicate_id, is_active) values ('m1', 'M1', 'me/m1', true);
:as_service;
select is(public.worker_start() -> 'models', '[{"name": "m1", "provider": "offline"}]', 'active models have providers');

select * from finish();
rollback;
