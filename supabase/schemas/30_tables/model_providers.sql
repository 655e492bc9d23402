-- Where and how a model runs, read at each claim. Adding a model, or moving it to another provider, is one statement on
-- the view batchgen.models and takes effect without a restart.
create table batchgen.model_providers (
  model_id uuid primary key references public.models (id) on delete cascade,
  provider text not null constraint provider_is_named check (provider <> ''),
  provider_model text,
  provider_version text,
  inputs jsonb,
  price_usd numeric(12, 6),
  estimated_seconds double precision,
  constraint inputs_name_the_prompt check (
    inputs is null
    or (jsonb_typeof(inputs) = 'object' and jsonb_typeof(inputs -> 'prompt') is not distinct from 'string')
  ),
  constraint texts_are_bounded check (
    length(provider) <= 200 and length(provider_model) <= 500 and length(provider_version) <= 500
    and pg_column_size(inputs) <= 100000
  ),
  constraint price_usd_in_range check (price_usd between 0 and 1000),
  constraint estimated_seconds_in_range check (estimated_seconds between 0 and 86400)
);

alter table batchgen.model_providers enable row level security;
create policy "Nobody" on batchgen.model_providers for all to public using (false);
revoke all on batchgen.model_providers from public, anon, authenticated, service_role;

comment on table batchgen.model_providers is
  'Which provider runs a model. A model without a row runs at the provider offline.';
comment on column batchgen.model_providers.model_id is 'The model.';
comment on column batchgen.model_providers.provider is 'Name of the provider, as workers use it.';
comment on column batchgen.model_providers.provider_model is
  'The model''s id at the provider; empty means models.replicate_id.';
comment on column batchgen.model_providers.provider_version is
  'Version at the provider if a request names none; empty means the official version.';
comment on column batchgen.model_providers.inputs is 'Names and ranges of the model''s inputs (docs/models.md).';
comment on column batchgen.model_providers.price_usd is
  'Price of one picture, in US dollars; empty means models.cost_per_generation.';
comment on column batchgen.model_providers.estimated_seconds is
  'Usual time to make a picture, in seconds; empty means models.estimated_time_seconds.';
