-- Where and how a model is made: data of its row, read anew at each claim. Adding a model, or pointing it to another
-- provider, is one statement on the view batchgen.models and takes effect without a restart.

alter table batchgen.model_providers
  add column provider_model text,
  add column provider_version text,
  add column inputs jsonb,
  add column price_usd numeric(12, 6),
  add column estimated_seconds double precision,
  -- squawk-ignore constraint-missing-not-valid
  add constraint inputs_name_the_prompt
    check (inputs is null or (jsonb_typeof(inputs) = 'object' and jsonb_typeof(inputs -> 'prompt') is not distinct from 'string')),
  -- squawk-ignore constraint-missing-not-valid
  add constraint texts_are_bounded check (
    length(provider) <= 200 and length(provider_model) <= 500 and length(provider_version) <= 500 and pg_column_size(inputs) <= 100000
  ),
  -- squawk-ignore constraint-missing-not-valid
  add constraint price_usd_in_range check (price_usd between 0 and 1000),
  -- squawk-ignore constraint-missing-not-valid
  add constraint estimated_seconds_in_range check (estimated_seconds between 0 and 86400);
comment on column batchgen.model_providers.provider_model is 'The model''s id there; empty means models.replicate_id.';
comment on column batchgen.model_providers.provider_version is 'Its version there, where a request names none; empty means the official one.';
comment on column batchgen.model_providers.inputs is 'What the model takes: names and ranges of its inputs (docs/models.md).';
comment on column batchgen.model_providers.price_usd is 'Of one picture, in US dollars; empty means models.cost_per_generation.';
comment on column batchgen.model_providers.estimated_seconds is 'How long a picture usually takes; empty means models.estimated_time_seconds.';

-- A model that could not be ordered waits behind its breaker; a row that has been mended is tried at once.
create function batchgen.after_model_provider_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from batchgen.breakers b where b.model_id in (old.model_id, new.model_id);
  return null;
end
$$;
revoke execute on function batchgen.after_model_provider_changed() from public, anon, authenticated, service_role;
comment on function batchgen.after_model_provider_changed() is 'Lets a model that was mended or moved run at once.';
create trigger after_model_provider_changed after insert or update or delete on batchgen.model_providers
for each row execute function batchgen.after_model_provider_changed();

alter table batchgen.breakers add column reason text;
comment on column batchgen.breakers.reason is 'The code of the fault that opened it.';

-- The models that the app knows, as they are ordered at Replicate. docs/models.md says where each row was checked.
create table batchgen.known_models (
  provider_model text primary key,
  display_name text not null,
  provider text not null,
  provider_version text,
  price_usd numeric(12, 6) not null,
  estimated_seconds double precision not null,
  default_steps integer,
  default_guidance_scale double precision,
  is_checked boolean not null,
  inputs jsonb not null
);
comment on table batchgen.known_models is 'Models that come with batchgen, ready to be ordered; new projects get them switched off.';
comment on column batchgen.known_models.provider_model is 'The model''s id at its provider; also models.name and models.replicate_id.';
comment on column batchgen.known_models.display_name is 'Name that users see.';
comment on column batchgen.known_models.provider is 'The provider, as workers name it.';
comment on column batchgen.known_models.provider_version is 'The version that was checked; empty means the official one.';
comment on column batchgen.known_models.price_usd is 'Of one picture of about a megapixel, in US dollars.';
comment on column batchgen.known_models.estimated_seconds is 'How long a picture usually takes.';
comment on column batchgen.known_models.default_steps is 'Steps where a request names none.';
comment on column batchgen.known_models.default_guidance_scale is 'Guidance scale where a request names none.';
comment on column batchgen.known_models.is_checked is 'Whether names and ranges of all inputs were compared with the provider''s own schema.';
comment on column batchgen.known_models.inputs is 'As model_providers.inputs.';
alter table batchgen.known_models enable row level security;
create policy "Nobody" on batchgen.known_models for all to public using (false);
revoke all on batchgen.known_models from public, anon, authenticated, service_role;

insert into batchgen.known_models (
  display_name, provider, provider_model, provider_version, price_usd, estimated_seconds, default_steps, default_guidance_scale,
  is_checked, inputs
) values
  (
    'Flux Schnell', 'replicate', 'black-forest-labs/flux-schnell', null, 0.003, 2, 4, null, true,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 4},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"],
        "area": {"name": "megapixels", "choices": {"0.25": 262144, "1": 1048576}}},
      "fixed": {"num_outputs": 1, "output_format": "webp", "output_quality": 90}}'
  ),
  (
    'Flux Dev', 'replicate', 'black-forest-labs/flux-dev', null, 0.025, 6, 28, 3, false,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 50},
      "guidance_scale": {"name": "guidance", "min": 0, "max": 10},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"],
        "area": {"name": "megapixels", "choices": {"0.25": 262144, "1": 1048576}}},
      "fixed": {"num_outputs": 1, "output_format": "webp", "output_quality": 90}}'
  ),
  (
    'Flux 1.1 Pro', 'replicate', 'black-forest-labs/flux-1.1-pro', null, 0.04, 6, null, null, true,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "size": {"kind": "width_height", "width": "width", "height": "height", "multiple_of": 32, "min": 256, "max": 1440},
      "fixed": {"aspect_ratio": "custom", "output_format": "webp", "output_quality": 90, "safety_tolerance": 2}}'
  ),
  (
    'SDXL', 'replicate', 'stability-ai/sdxl', '7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc',
    0.0063, 8, 30, 7.5, false,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 100},
      "guidance_scale": {"name": "guidance_scale", "min": 1, "max": 50},
      "size": {"kind": "width_height", "width": "width", "height": "height", "multiple_of": 8, "min": 512, "max": 1536},
      "fixed": {"num_outputs": 1, "refine": "no_refiner", "scheduler": "K_EULER"}}'
  ),
  (
    'SDXL Lightning', 'replicate', 'bytedance/sdxl-lightning-4step',
    '5599ed30703defd1d160a25a63321b4dec97101d98b4674bcc56e41f62f35637', 0.002, 2, null, null, true,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "fixed": 4},
      "guidance_scale": {"name": "guidance_scale", "fixed": 0},
      "size": {"kind": "width_height", "width": "width", "height": "height", "multiple_of": 8, "min": 256, "max": 1280},
      "fixed": {"num_outputs": 1, "scheduler": "K_EULER"}}'
  ),
  (
    'Stable Diffusion 3.5 Large', 'replicate', 'stability-ai/stable-diffusion-3.5-large', null,
    0.065, 8, null, 5, true,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "guidance_scale": {"name": "cfg", "min": 1, "max": 10},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "9:16", "9:21"]},
      "fixed": {"output_format": "webp"}}'
  ),
  (
    'Ideogram V3 Turbo', 'replicate', 'ideogram-ai/ideogram-v3-turbo', null, 0.03, 7, null, null, false,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:3", "3:1", "1:2", "2:1", "9:16", "16:9", "10:16", "16:10", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "1:1"]}}'
  ),
  (
    'Imagen 4 Fast', 'replicate', 'google/imagen-4-fast', null, 0.02, 5, null, null, false,
    '{"prompt": "prompt",
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio", "choices": ["1:1", "9:16", "16:9", "3:4", "4:3"]},
      "fixed": {"output_format": "jpg"}}'
  ),
  (
    'Qwen Image', 'replicate', 'qwen/qwen-image', null, 0.025, 8, 30, 3, false,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 50},
      "guidance_scale": {"name": "guidance", "min": 0, "max": 10},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"]}}'
  ),
  (
    'SeeDream 3', 'replicate', 'bytedance/seedream-3', null, 0.03, 4, null, 2.5, true,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "guidance_scale": {"name": "guidance_scale", "min": 1, "max": 10},
      "size": {"kind": "width_height", "width": "width", "height": "height", "multiple_of": 8, "min": 512, "max": 2048},
      "fixed": {"aspect_ratio": "custom"}}'
  ),
  (
    'SeeDream 4', 'replicate', 'bytedance/seedream-4', null, 0.03, 12, null, null, true,
    '{"prompt": "prompt",
      "size": {"kind": "width_height", "width": "width", "height": "height", "multiple_of": 8, "min": 1024, "max": 4096},
      "fixed": {"size": "custom", "sequential_image_generation": "disabled", "max_images": 1}}'
  ),
  (
    'Recraft V3', 'replicate', 'recraft-ai/recraft-v3', null, 0.04, 8, null, null, false,
    '{"prompt": "prompt",
      "size": {"kind": "choices", "name": "size",
        "choices": ["1024x1024", "1365x1024", "1024x1365", "1536x1024", "1024x1536", "1820x1024", "1024x1820", "2048x1024",
          "1024x2048", "1434x1024", "1024x1434", "1280x1024", "1024x1280", "1024x1707"]}}'
  );

-- batchgen.models: a model and where it is made, in one row. Insert, update and delete write both tables.
create view batchgen.models with (security_invoker = on) as
select m.id, m.name, m.display_name, m.is_active, m.is_default, coalesce(p.provider, 'offline') as provider,
  coalesce(p.provider_model, m.replicate_id) as provider_model, p.provider_version, p.inputs,
  -- What the app's own column says is no price where it is out of all range.
  coalesce(p.price_usd, case when m.cost_per_generation between 0 and 1000 then m.cost_per_generation::numeric(12, 6) end) as price_usd,
  coalesce(p.estimated_seconds, m.estimated_time_seconds) as estimated_seconds, m.default_steps, m.default_guidance_scale
from public.models m left join batchgen.model_providers p on p.model_id = m.id;
comment on view batchgen.models is 'Each model with its provider, for admins: insert, update or delete a row here, and it holds from the next claim on.';
comment on column batchgen.models.id is 'models.id.';
comment on column batchgen.models.name is 'Short name, unique; by default the model''s id at its provider.';
comment on column batchgen.models.display_name is 'Name that users see; by default the name.';
comment on column batchgen.models.is_active is 'Whether requests may name the model; yes by default.';
comment on column batchgen.models.is_default is 'Used where a request names no model.';
comment on column batchgen.models.provider is 'Who makes the pictures: offline, replicate, fal, openai, comfyui or automatic1111.';
comment on column batchgen.models.provider_model is 'The model''s id there.';
comment on column batchgen.models.provider_version is 'Its version there, where a request names none.';
comment on column batchgen.models.inputs is 'What it takes there (docs/models.md).';
comment on column batchgen.models.price_usd is 'Of one picture, in US dollars.';
comment on column batchgen.models.estimated_seconds is 'How long a picture usually takes.';
comment on column batchgen.models.default_steps is 'Steps where a request names none.';
comment on column batchgen.models.default_guidance_scale is 'Guidance scale where a request names none.';
revoke all on batchgen.models from public, anon, authenticated, service_role;

-- batchgen.put_model_provider(p_model, p_model_id): the half of the view's row that says how a model is ordered.
create function batchgen.put_model_provider(p_model batchgen.models, p_model_id uuid) returns void
language sql set search_path = '' as $$
  insert into batchgen.model_providers as p (model_id, provider, provider_model, provider_version, inputs, price_usd, estimated_seconds)
  values (p_model_id, coalesce(p_model.provider, 'offline'), p_model.provider_model, p_model.provider_version, p_model.inputs,
    p_model.price_usd, p_model.estimated_seconds)
  on conflict (model_id) do update set provider = excluded.provider, provider_model = excluded.provider_model,
    provider_version = excluded.provider_version, inputs = excluded.inputs, price_usd = excluded.price_usd,
    estimated_seconds = excluded.estimated_seconds
$$;
revoke execute on function batchgen.put_model_provider(batchgen.models, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.put_model_provider(batchgen.models, uuid) is 'Writes how a model is ordered.';

create function batchgen.instead_of_models_written() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    delete from public.models m where m.id = old.id;
    return old;
  end if;
  if tg_op = 'INSERT' then
    new.id := coalesce(new.id, gen_random_uuid());
    new.name := coalesce(new.name, new.provider_model);
    insert into public.models (
      id, name, display_name, replicate_id, is_active, is_default, cost_per_generation, estimated_time_seconds, default_steps,
      default_guidance_scale, supports_negative_prompt, supports_seed
    ) values (
      new.id, new.name, coalesce(new.display_name, new.name), coalesce(new.provider_model, new.name), coalesce(new.is_active, true),
      coalesce(new.is_default, false), new.price_usd, ceil(new.estimated_seconds), new.default_steps, new.default_guidance_scale,
      coalesce(new.inputs ->> 'negative_prompt', '') <> '', coalesce(jsonb_typeof(new.inputs -> 'seed') = 'object', false)
    );
  else
    -- replicate_id stays: it is the name by which the app asks for the model, wherever it is made.
    update public.models m
    set name = new.name, display_name = new.display_name, is_active = new.is_active, is_default = new.is_default,
      cost_per_generation = new.price_usd, estimated_time_seconds = ceil(new.estimated_seconds),
      default_steps = new.default_steps, default_guidance_scale = new.default_guidance_scale,
      -- Moved to a provider that takes other inputs: the app asks for those.
      supports_negative_prompt = case
        when new.inputs is not null and new.inputs is distinct from old.inputs then coalesce(new.inputs ->> 'negative_prompt', '') <> ''
        else m.supports_negative_prompt
      end,
      supports_seed = case
        when new.inputs is not null and new.inputs is distinct from old.inputs then coalesce(jsonb_typeof(new.inputs -> 'seed') = 'object', false)
        else m.supports_seed
      end
    where m.id = old.id;
  end if;
  perform batchgen.put_model_provider(new, coalesce(old.id, new.id));
  return new;
end
$$;
revoke execute on function batchgen.instead_of_models_written() from public, anon, authenticated, service_role;
comment on function batchgen.instead_of_models_written() is 'Writes a row of the view batchgen.models into its two tables.';
create trigger instead_of_models_written instead of insert or update or delete on batchgen.models
for each row execute function batchgen.instead_of_models_written();

-- batchgen.adopt_known_models(): for a project that had its models before. Those whose replicate_id is known here and
-- that have no provider yet are ordered at their provider from now on. Nobody calls it but an admin: from then on the
-- pictures cost money. Returns how many.
create function batchgen.adopt_known_models() returns integer
language sql set search_path = '' as $$
  with adopted as (
    insert into batchgen.model_providers (model_id, provider, provider_model, provider_version, inputs, price_usd, estimated_seconds)
    select m.id, k.provider, k.provider_model, k.provider_version, k.inputs, k.price_usd, k.estimated_seconds
    from public.models m join batchgen.known_models k on k.provider_model = m.replicate_id
    on conflict do nothing
    returning 1
  )
  select count(*)::integer from adopted
$$;
revoke execute on function batchgen.adopt_known_models() from public, anon, authenticated, service_role;
comment on function batchgen.adopt_known_models() is
  'For admins of a project that had its models before: has the ones that are known here made at their provider. Returns how many.';

-- A new project gets them all, switched off: to offer a model whose provider has no key would let its items wait for ever.
insert into batchgen.models (
  name, display_name, is_active, provider, provider_model, provider_version, inputs, price_usd, estimated_seconds, default_steps,
  default_guidance_scale
)
select k.provider_model, k.display_name, false, k.provider, k.provider_model, k.provider_version, k.inputs, k.price_usd,
  k.estimated_seconds, k.default_steps, k.default_guidance_scale
from batchgen.known_models k
where not exists (select from public.models m where m.replicate_id <> 'batchgen/offline-sketch')
order by k.display_name;
