create table public.models (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  display_name text not null,
  replicate_id text not null,
  version text,
  description text,
  cost_per_generation double precision,
  estimated_time_seconds integer,
  is_active boolean default true,
  is_default boolean default false,
  sort_order integer default 0,
  default_width integer default 1024,
  default_height integer default 1024,
  default_steps integer,
  default_guidance_scale double precision,
  default_strength double precision,
  min_width integer,
  max_width integer,
  min_height integer,
  max_height integer,
  max_steps integer,
  strength_min double precision,
  strength_max double precision,
  supported_aspect_ratios jsonb,
  supports_negative_prompt boolean default true,
  supports_seed boolean default true,
  supports_img2img boolean default false,
  supports_image_to_image boolean default false,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);

alter table public.models enable row level security;
revoke all on public.models from anon, authenticated, service_role;
grant select on public.models to anon, authenticated;
grant select, insert, update, delete on public.models to service_role;
create policy "Everybody reads the active models" on public.models
  for select to anon, authenticated using (is_active);

-- The one model that needs no account: it draws without a real model and says so.
insert into public.models (
  name, display_name, replicate_id, description, cost_per_generation, estimated_time_seconds, is_default,
  default_steps, default_guidance_scale, min_width, max_width, min_height, max_height, max_steps
) values (
  'offline-sketch', 'Offline sketch', 'batchgen/offline-sketch',
  'Draws a picture from the words of the prompt, with no model behind it. For development and tests.', 0, 1, true,
  20, 7.5, 64, 2048, 64, 2048, 100
);

comment on table public.models is
  'Image models that users can choose, one per row. is_active offers a model; is_default is used where a request '
  'names none.';
comment on column public.models.id is
  'Id of the model, as in image_generations.model_id and in shared_settings.model_id of a request.';
comment on column public.models.name is 'Short unique name; copied to image_generations.model.';
comment on column public.models.display_name is 'Name shown to users.';
comment on column public.models.replicate_id is 'The model''s id at its provider.';
comment on column public.models.version is 'Version at the provider; empty means the official version.';
comment on column public.models.description is 'Description for users.';
comment on column public.models.cost_per_generation is 'Price of one picture, in the currency of the provider.';
comment on column public.models.estimated_time_seconds is 'Usual time to make a picture, in seconds.';
comment on column public.models.is_active is 'True if requests may name the model. Waiting items run either way.';
comment on column public.models.is_default is
  'Used where a request names no model; among several, the first by sort_order and name.';
comment on column public.models.sort_order is 'Position in lists, lowest first.';
comment on column public.models.default_width is 'Width in pixels if a request names none.';
comment on column public.models.default_height is 'Height in pixels if a request names none.';
comment on column public.models.default_steps is 'Steps if a request names none.';
comment on column public.models.default_guidance_scale is 'Guidance scale if a request names none.';
comment on column public.models.default_strength is 'Strength for image-to-image if a request names none.';
comment on column public.models.min_width is 'Minimum width in pixels of a request; empty means 16.';
comment on column public.models.max_width is 'Maximum width in pixels of a request; empty means 4096.';
comment on column public.models.min_height is 'Minimum height in pixels of a request; empty means 16.';
comment on column public.models.max_height is 'Maximum height in pixels of a request; empty means 4096.';
comment on column public.models.max_steps is 'Maximum steps of a request; empty means 200.';
comment on column public.models.strength_min is 'Minimum strength for image-to-image.';
comment on column public.models.strength_max is 'Maximum strength for image-to-image.';
comment on column public.models.supported_aspect_ratios is 'Aspect ratios that the app offers, as a JSON list.';
comment on column public.models.supports_negative_prompt is 'True if the model takes a negative prompt.';
comment on column public.models.supports_seed is 'True if the same seed gives the same picture.';
comment on column public.models.supports_img2img is
  'True if the model makes pictures from other pictures (older name).';
comment on column public.models.supports_image_to_image is 'True if the model makes pictures from other pictures.';
comment on column public.models.created_at is 'When the model was added.';
comment on column public.models.updated_at is 'When the row was last changed.';
