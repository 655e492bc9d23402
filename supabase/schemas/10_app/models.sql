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

-- The one model that needs no account: it draws without any model behind it and says so.
insert into public.models (
  name, display_name, replicate_id, description, cost_per_generation, estimated_time_seconds, is_default,
  default_steps, default_guidance_scale, min_width, max_width, min_height, max_height, max_steps
) values (
  'offline-sketch', 'Offline sketch', 'batchgen/offline-sketch',
  'Draws a picture from the words of the prompt, with no model behind it. For development and tests.', 0, 1, true,
  20, 7.5, 64, 2048, 64, 2048, 100
);

comment on table public.models is
  'Image models that users can choose. One row is a model; is_active offers it, is_default is used where none is '
  'named.';
comment on column public.models.id is 'What image_generations.model_id and shared_settings.model_id of a request name.';
comment on column public.models.name is 'Short name, unique; copied to image_generations.model.';
comment on column public.models.display_name is 'Name that users see.';
comment on column public.models.replicate_id is 'The model''s id at its provider.';
comment on column public.models.version is 'Version at the provider; empty means the official one.';
comment on column public.models.description is 'What the model is good at, for users.';
comment on column public.models.cost_per_generation is 'What one picture costs, in the currency of the provider.';
comment on column public.models.estimated_time_seconds is 'How long a picture usually takes, in seconds.';
comment on column public.models.is_active is 'Whether requests may name the model. Items that wait run in any case.';
comment on column public.models.is_default is
  'Used where a request names no model; of several the first by sort_order and name.';
comment on column public.models.sort_order is 'Place in lists, lowest first.';
comment on column public.models.default_width is 'Width in pixels where a request names none.';
comment on column public.models.default_height is 'Height in pixels where a request names none.';
comment on column public.models.default_steps is 'Steps where a request names none.';
comment on column public.models.default_guidance_scale is 'Guidance scale where a request names none.';
comment on column public.models.default_strength is
  'Strength for pictures made from another one, where a request names none.';
comment on column public.models.min_width is 'Smallest width in pixels that a request may ask for; empty means 16.';
comment on column public.models.max_width is 'Largest width in pixels that a request may ask for; empty means 4096.';
comment on column public.models.min_height is 'Smallest height in pixels that a request may ask for; empty means 16.';
comment on column public.models.max_height is 'Largest height in pixels that a request may ask for; empty means 4096.';
comment on column public.models.max_steps is 'Most steps that a request may ask for; empty means 200.';
comment on column public.models.strength_min is 'Lowest strength for pictures made from another one.';
comment on column public.models.strength_max is 'Highest strength for pictures made from another one.';
comment on column public.models.supported_aspect_ratios is 'Aspect ratios that the app offers, as a JSON list.';
comment on column public.models.supports_negative_prompt is 'Whether the model takes a negative prompt.';
comment on column public.models.supports_seed is 'Whether the same seed gives the same picture.';
comment on column public.models.supports_img2img is 'Whether the model makes pictures from another one (older name).';
comment on column public.models.supports_image_to_image is 'Whether the model makes pictures from another one.';
comment on column public.models.created_at is 'When the model was added.';
comment on column public.models.updated_at is 'When the row was last changed.';
