-- The app's tables, created where missing. Existing tables stay as they are: nothing here fills them, alters their
-- columns or changes their grants; only missing columns and indexes are added.
-- Columns, names and nullability are those of the app's own generated types.

-- A plain Postgres (CI, a restored dump) may lack Supabase's auth schema. This block creates the part of it that the
-- tables and policies below use; on a Supabase project it does nothing.
do $$
begin
  if to_regnamespace('auth') is null then
    create schema auth;
    grant usage on schema auth to anon, authenticated, service_role;
  end if;
  if to_regclass('auth.users') is null then
    create table auth.users (id uuid primary key default gen_random_uuid(), email text);
    alter table auth.users enable row level security;
  end if;
  if to_regprocedure('auth.uid()') is null then
    create function auth.uid() returns uuid language sql stable set search_path = '' as $f$
      select nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid
    $f$;
    grant execute on function auth.uid() to anon, authenticated, service_role;
  end if;
end
$$;

do $$
begin
  if to_regclass('public.models') is null then
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
    insert into public.models (
      name, display_name, replicate_id, description, cost_per_generation, estimated_time_seconds, is_default,
      default_steps, default_guidance_scale, min_width, max_width, min_height, max_height, max_steps
    ) values (
      'offline-sketch', 'Offline sketch', 'batchgen/offline-sketch',
      'Draws a picture from the words of the prompt, with no model behind it. For development and tests.', 0, 1, true,
      20, 7.5, 64, 2048, 64, 2048, 100
    );
  end if;

  if to_regclass('public.image_generations') is null then
    create table public.image_generations (
      id uuid primary key default gen_random_uuid(),
      user_id uuid references auth.users (id) on delete cascade,
      prompt text not null,
      negative_prompt text,
      model text,
      model_id uuid references public.models (id) on delete set null,
      style text,
      width integer,
      height integer,
      steps integer,
      guidance_scale double precision,
      seed bigint,
      status text default 'pending' check (status in ('pending', 'processing', 'completed', 'failed')),
      error_message text,
      source_image_url text,
      generation_strength double precision,
      replicate_prediction_id text,
      generation_time_seconds integer,
      created_at timestamptz default now(),
      completed_at timestamptz
    );
    create index idx_image_generations_model on public.image_generations (model_id);
  end if;

  if to_regclass('public.images') is null then
    create table public.images (
      id uuid primary key default gen_random_uuid(),
      generation_id uuid references public.image_generations (id) on delete set null,
      user_id uuid references auth.users (id) on delete cascade,
      filename text not null,
      storage_path text not null,
      prompt text not null,
      public_url text,
      negative_prompt text,
      model text,
      style text,
      width integer,
      height integer,
      format text,
      file_size bigint,
      blurhash text,
      is_public boolean default false,
      is_favorite boolean default false,
      rating integer,
      download_count integer default 0,
      archived_at timestamptz,
      source_image_id uuid references public.images (id) on delete set null,
      generation_strength double precision,
      created_at timestamptz default now(),
      saved_at timestamptz,
      seed bigint,
      model_version text,
      is_black boolean default false,
      thumbnail_path text
    );
  end if;

  if to_regclass('public.tags') is null then
    create table public.tags (
      id uuid primary key default gen_random_uuid(),
      name text not null unique check (name = lower(name)),
      color text,
      created_at timestamptz default now(),
      created_by uuid
    );
  end if;

  if to_regclass('public.image_tags') is null then
    create table public.image_tags (
      id uuid primary key default gen_random_uuid(),
      image_id uuid references public.images (id) on delete cascade,
      tag_id uuid references public.tags (id) on delete cascade,
      added_at timestamptz default now(),
      unique (image_id, tag_id)
    );
    create index idx_image_tags_tag on public.image_tags (tag_id);
  end if;

  if to_regclass('public.user_rate_limits') is null then
    create table public.user_rate_limits (
      user_id uuid primary key references auth.users (id) on delete cascade,
      daily_generations_count integer default 0,
      daily_generations_limit integer,
      daily_reset_at timestamptz,
      hourly_generations_count integer default 0,
      hourly_generations_limit integer,
      hourly_reset_at timestamptz,
      last_generation_at timestamptz,
      max_batch_size integer,
      max_concurrent_generations integer,
      total_generations_all_time bigint default 0,
      updated_at timestamptz default now()
    );
  end if;

  if to_regclass('public.prompt_templates') is null then
    create table public.prompt_templates (
      id uuid primary key default gen_random_uuid(),
      name text not null constraint name_is_short check (length(name) <= 200),
      prompt text not null constraint prompt_is_bounded check (length(prompt) <= 100000),
      user_id uuid references auth.users (id) on delete cascade,
      category text constraint category_is_short check (length(category) <= 200),
      negative_prompt text constraint negative_prompt_is_bounded check (length(negative_prompt) <= 100000),
      is_public boolean default false,
      use_count integer default 0,
      created_at timestamptz default now()
    );
    create index idx_prompt_templates_user on public.prompt_templates (user_id, created_at desc);
    create index idx_prompt_templates_public on public.prompt_templates (category, name) where is_public;
  end if;
end
$$;

-- Columns that a project's own tables may lack.
alter table public.images add column if not exists rating integer;
alter table public.images add column if not exists saved_at timestamptz;
alter table public.images add column if not exists seed bigint;
alter table public.images add column if not exists model_version text;
alter table public.images add column if not exists is_black boolean default false;
alter table public.images add column if not exists thumbnail_path text;
alter table public.tags add column if not exists created_by uuid;

-- Indexes for users' queries. Not concurrently, since a migration is one transaction; these tables may be large.
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_image_generations_user on public.image_generations (user_id, created_at desc);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_generation on public.images (generation_id);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_user on public.images (user_id, created_at desc);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_source on public.images (source_image_id);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_storage_path on public.images (storage_path);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_thumbnail_path on public.images (thumbnail_path)
where thumbnail_path is not null;
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_unsaved on public.images (created_at) where saved_at is null;
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_tags_created_by on public.tags (created_by) where created_by is not null;
