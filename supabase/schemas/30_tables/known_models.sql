-- Models that the app knows, with their inputs at Replicate. docs/models.md says where each row was checked.
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

alter table batchgen.known_models enable row level security;
create policy "Nobody" on batchgen.known_models for all to public using (false);
revoke all on batchgen.known_models from public, anon, authenticated, service_role;

comment on table batchgen.known_models is
  'Models that come with batchgen, with all that an order needs; new projects get them switched off.';
comment on column batchgen.known_models.provider_model is
  'The model''s id at its provider; also models.name and models.replicate_id.';
comment on column batchgen.known_models.display_name is 'Name shown to users.';
comment on column batchgen.known_models.provider is 'Name of the provider, as workers use it.';
comment on column batchgen.known_models.provider_version is
  'The version that was checked; empty means the official version.';
comment on column batchgen.known_models.price_usd is 'Price of one picture of about a megapixel, in US dollars.';
comment on column batchgen.known_models.estimated_seconds is 'Usual time to make a picture, in seconds.';
comment on column batchgen.known_models.default_steps is 'Steps if a request names none.';
comment on column batchgen.known_models.default_guidance_scale is 'Guidance scale if a request names none.';
comment on column batchgen.known_models.is_checked is
  'True if names and ranges of all inputs were compared with the provider''s own schema.';
comment on column batchgen.known_models.inputs is 'As model_providers.inputs.';

insert into batchgen.known_models (
  display_name, provider, provider_model, provider_version, price_usd, estimated_seconds, default_steps,
  default_guidance_scale, is_checked, inputs
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
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 32, "min": 256, "max": 1440},
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
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 512, "max": 1536},
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
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 256, "max": 1280},
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
        "choices": ["1:3", "3:1", "1:2", "2:1", "9:16", "16:9", "10:16", "16:10", "2:3", "3:2", "3:4", "4:3", "4:5",
          "5:4", "1:1"]}}'
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
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 512, "max": 2048},
      "fixed": {"aspect_ratio": "custom"}}'
  ),
  (
    'SeeDream 4', 'replicate', 'bytedance/seedream-4', null, 0.03, 12, null, null, true,
    '{"prompt": "prompt",
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 1024, "max": 4096},
      "fixed": {"size": "custom", "sequential_image_generation": "disabled", "max_images": 1}}'
  ),
  (
    'Recraft V3', 'replicate', 'recraft-ai/recraft-v3', null, 0.04, 8, null, null, false,
    '{"prompt": "prompt",
      "size": {"kind": "choices", "name": "size",
        "choices": ["1024x1024", "1365x1024", "1024x1365", "1536x1024", "1024x1536", "1820x1024", "1024x1820",
          "2048x1024", "1024x2048", "1434x1024", "1024x1434", "1280x1024", "1024x1280", "1024x1707"]}}'
  );
