begin;
\ir ../setup.psql
insert into batchgen.models (name, display_name, provider, provider_model, price_usd, estimated_seconds, inputs)
values
  ('vendor/ratios', 'Ratios', 'replicate', 'vendor/ratios', 0.02, 4,
    '{"prompt": "prompt", "size": {"kind": "aspect_ratio", "name": "ratio", "choices": ["1:1", "16:9"]}}'),
  ('vendor/ranges', 'Ranges', 'fal', 'vendor/ranges', 0.01, 2,
    '{"prompt": "prompt", "negative_prompt": "negative", "seed": {"name": "seed"},
      "steps": {"name": "steps", "min": 2, "max": 12}, "guidance_scale": {"name": "guidance", "min": 1, "max": 9.5},
      "size": {"kind": "choices", "name": "size", "choices": ["1024x1024"]}}'),
  ('vendor/fixed', 'Fixed', 'fal', 'vendor/fixed', null, null,
    '{"prompt": "prompt", "steps": {"name": "steps", "fixed": 4}, "guidance_scale": {"min": "nonsense"},
      "size": {"kind": "choices", "choices": "nonsense"}}');
update public.models set default_steps = 5, min_width = 256, max_width = 1440, default_width = 512
where name = 'vendor/ranges';
select plan(6);

:as_owner;
select results_eq(
  $$ select display_name, price_usd, estimated_seconds, least_seconds, is_measured, aspect_ratios, sizes, steps,
      guidance_scale, supports_seed, supports_negative_prompt
    from public.get_models() where name = 'vendor/ratios' $$,
  $$ values ('Ratios', 0.02, 4::double precision, 4::double precision, false, '["1:1", "16:9"]'::jsonb, null::jsonb,
    null::jsonb, null::jsonb, false, false) $$,
  'a model that takes only a prompt and a ratio'
);
select results_eq(
  $$ select aspect_ratios, sizes, steps, guidance_scale, width, height, supports_seed, supports_negative_prompt
    from public.get_models() where name = 'vendor/ranges' $$,
  $$ values (null::jsonb, '["1024x1024"]'::jsonb, '{"min": 2, "max": 12, "default": 5}'::jsonb,
    '{"min": 1, "max": 9.5, "default": null}'::jsonb, '{"min": 256, "max": 1440, "default": 512}'::jsonb,
    '{"min": 16, "max": 4096, "default": 1024}'::jsonb, true, true) $$,
  'a model with ranges'
);
select results_eq(
  $$ select price_usd, least_seconds, steps, sizes from public.get_models() where name = 'vendor/fixed' $$,
  $$ values (null::numeric, null::double precision, null::jsonb, null::jsonb) $$,
  'a fixed number of steps is no choice, and a wrong row of inputs harms no list'
);
select is_empty($$ select from public.get_models() where provider is not null or provider_model is not null $$,
  'a user does not see where a model runs');
select is_empty($$ select from public.get_models() where not is_active $$, 'a user sees active models only');
select is((select name from public.get_models() limit 1), 'offline-sketch', 'the default model comes first');

select * from finish();
rollback;
