begin;
\ir ../setup.psql
update public.models set is_default = false;
insert into batchgen.models (name, display_name, provider, provider_model, price_usd, estimated_seconds, inputs,
  is_active)
values ('vendor/one', 'One', 'replicate', 'vendor/one', 0.02, 4, '{"prompt": "prompt"}', false);
select plan(4);

:as_anon;
select throws_ok($$ select public.get_models() $$, '42501', null, 'anon sees no prices');
:as_owner;
select is_empty($$ select from public.get_models() where name = 'vendor/one' $$,
  'a user sees no model that is switched off');
:as_service;
select results_eq(
  $$ select display_name, provider, price_usd, estimated_seconds, is_active from public.get_models()
    where name = 'vendor/one' $$,
  $$ values ('One', 'replicate', 0.02, 4::double precision, false) $$,
  'an operator sees what is switched off, too, with provider and price'
);
select is((select is_active from public.get_models() limit 1), true, 'models that are offered come first');

select * from finish();
rollback;
