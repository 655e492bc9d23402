-- A project as the app has it before our first migration: its own tables, policies, grants, and rows.
create schema if not exists auth;
grant usage on schema auth to anon, authenticated, service_role;
create table auth.users (id uuid primary key default gen_random_uuid(), email text);
alter table auth.users enable row level security;
create function auth.uid() returns uuid language sql stable set search_path = '' as $$
  select nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub', '')::uuid
$$;
grant execute on function auth.uid() to anon, authenticated, service_role;

create table public.models (
  id uuid primary key default gen_random_uuid(), name text not null, display_name text not null,
    replicate_id text not null,
  version text, description text, cost_per_generation double precision, estimated_time_seconds integer,
  is_active boolean, is_default boolean, sort_order integer,
  default_width integer, default_height integer, default_steps integer, default_guidance_scale double precision,
  default_strength double precision, min_width integer, max_width integer, min_height integer, max_height integer,
  max_steps integer, strength_min double precision, strength_max double precision, supported_aspect_ratios jsonb,
  supports_negative_prompt boolean, supports_seed boolean, supports_img2img boolean, supports_image_to_image boolean,
  created_at timestamptz default now(), updated_at timestamptz default now()
);
create table public.image_generations (
  id uuid primary key default gen_random_uuid(), user_id uuid references auth.users (id) on delete cascade,
  prompt text not null, negative_prompt text, model text, model_id uuid references public.models (id), style text,
  width integer, height integer, steps integer, guidance_scale double precision, seed bigint,
  status text default 'pending', error_message text, source_image_url text, generation_strength double precision,
  replicate_prediction_id text, generation_time_seconds integer, created_at timestamptz default now(),
    completed_at timestamptz
);
create table public.images (
  id uuid primary key default gen_random_uuid(), generation_id uuid references public.image_generations (id) on delete
    set null,
  user_id uuid references auth.users (id) on delete cascade, filename text not null, storage_path text not null,
    prompt text not null,
  public_url text, negative_prompt text, model text, style text, width integer, height integer, format text,
    file_size integer,
  blurhash text, is_public boolean, is_favorite boolean, rating integer, download_count integer,
    archived_at timestamptz,
  source_image_id uuid references public.images (id), generation_strength double precision,
    created_at timestamptz default now()
);
create table public.tags (
  id uuid primary key default gen_random_uuid(), name text not null unique, color text,
    created_at timestamptz default now()
);
create table public.image_tags (
  id uuid primary key default gen_random_uuid(), image_id uuid references public.images (id) on delete cascade,
  tag_id uuid references public.tags (id) on delete cascade, added_at timestamptz default now(),
    unique (image_id, tag_id)
);

alter table public.models enable row level security;
alter table public.image_generations enable row level security;
alter table public.images enable row level security;
alter table public.tags enable row level security;
alter table public.image_tags enable row level security;
create policy "models" on public.models for select to authenticated using (true);
create policy "own generations" on public.image_generations for all to authenticated
  using (user_id = auth.uid()) with check (user_id = auth.uid());
create policy "own images" on public.images for all to authenticated
  using (user_id = auth.uid()) with check (user_id = auth.uid());
create policy "tags" on public.tags for select to authenticated using (true);
create policy "image tags" on public.image_tags for select to authenticated using (true);
grant all on all tables in schema public to authenticated, service_role;

insert into auth.users (id, email) values ('11111111-1111-4111-8111-111111111111', 'old@example.com');
insert into public.models (name, display_name, replicate_id, is_active, is_default, default_width, default_height,
  default_steps)
values ('flux-schnell', 'Flux Schnell', 'black-forest-labs/flux-schnell', true, true, 1024, 768, 4);
insert into public.image_generations (id, user_id, prompt, status, model)
select ('22222222-2222-4222-8222-22222222222' || n)::uuid, '11111111-1111-4111-8111-111111111111',
  'an old picture ' || n, status, 'flux-schnell'
from (values (1, 'completed'), (2, 'pending'), (3, 'failed'), (4, 'processing')) as old (n, status);
insert into public.images (generation_id, user_id, filename, storage_path, prompt, format)
values ('22222222-2222-4222-8222-222222222221', '11111111-1111-4111-8111-111111111111', 'a.png',
  '11111111-1111-4111-8111-111111111111/a.png', 'an old picture 1', 'png');
insert into public.tags (name) values ('old');
insert into public.image_tags (image_id, tag_id) select i.id, t.id from public.images i, public.tags t;
