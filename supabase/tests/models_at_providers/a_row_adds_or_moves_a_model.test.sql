begin;
\ir ../setup.psql
select plan(19);

select lives_ok($$
  insert into batchgen.models (display_name, provider, provider_model, price_usd, estimated_seconds, inputs)
  values ('New', 'fal', 'owner/new', 0.02, 7.5,
    '{"prompt": "prompt", "seed": {"name": "seed"}, "negative_prompt": "negative_prompt"}')
$$, 'a model is one row');
select results_eq(
  $$ select name, replicate_id, is_active, is_default, supports_seed, supports_negative_prompt, estimated_time_seconds
    from public.models where display_name = 'New' $$,
  $$ values ('owner/new', 'owner/new', true, false, true, true, 8) $$, 'the app sees the model'
);
select results_eq(
  $$ select provider, provider_model, price_usd from batchgen.models where display_name = 'New' $$,
  $$ values ('fal', 'owner/new', 0.02::numeric(12, 6)) $$, 'workers order the model from its provider'
);
insert into batchgen.breakers (model_id, opened_until, reason)
select id, now() + interval '1 hour', 'inputs_missing' from public.models where display_name = 'New';
select lives_ok($$
  update batchgen.models set provider = 'replicate', provider_model = 'owner/moved', price_usd = 0.03
    where display_name = 'New'
$$, 'one update moves a model to another provider');
select results_eq(
  $$ select m.replicate_id, p.provider, p.provider_model, p.price_usd from public.models m
    join batchgen.model_providers p on p.model_id = m.id where m.display_name = 'New' $$,
  $$ values ('owner/new', 'replicate', 'owner/moved', 0.03::numeric(12, 6)) $$, 'the app asks for it as before'
);
select is_empty($$ select 1 from batchgen.breakers $$, 'a model that was mended is tried at once');
select throws_ok($$ update batchgen.models set inputs = '{"seed": {"name": "seed"}}' where display_name = 'New' $$,
  '23514', null, 'inputs name the prompt');
select throws_ok($$ update batchgen.models set inputs = '{"prompt": 7}' where display_name = 'New' $$, '23514', null,
  'the prompt''s input has a name');
select throws_ok($$ update batchgen.models set inputs = '["prompt"]' where display_name = 'New' $$, '23514', null,
  'inputs are an object');
select throws_ok($$ update batchgen.models set price_usd = -1 where display_name = 'New' $$, '23514', null,
  'nothing costs less than nothing');
select throws_ok($$ update batchgen.models set price_usd = 1001 where display_name = 'New' $$, '23514', null,
  'no price is above a thousand dollars');
select throws_ok($$ update batchgen.model_providers set estimated_seconds = -1 $$, '23514', null,
  'nothing is ready before it is asked for');
select throws_ok($$ update batchgen.models set provider = '' where display_name = 'New' $$, '23514', null,
  'a provider has a name');
select lives_ok($$ delete from batchgen.models where display_name = 'New' $$, 'the row is deleted');
select is_empty($$ select 1 from public.models where display_name = 'New' $$, 'the model is deleted whole');

select is(count(*), 12::bigint, 'a new project knows the models of the app') from batchgen.known_models;
delete from batchgen.model_providers;
select isnt(batchgen.adopt_known_models(), 0, 'a project with models of its own takes them on when it says so');
select is(batchgen.adopt_known_models(), 0, 'known models are taken on once');
select results_eq(
  $$ select provider, price_usd from batchgen.models where provider_model = 'black-forest-labs/flux-schnell' $$,
  $$ values ('replicate', 0.003::numeric(12, 6)) $$, 'known models are taken on with their price'
);

select * from finish();
rollback;
