-- The app's own table of limits, as careless as it comes: a user may write the own row, all limits are there, and so is
-- the function that tells them. Runs after app_schema.sql.
create table public.user_rate_limits (
  user_id uuid primary key references auth.users (id) on delete cascade,
  daily_generations_count integer not null default 0, daily_generations_limit integer not null default 50,
  daily_reset_at timestamptz not null default now() + interval '1 day',
  hourly_generations_count integer not null default 0, hourly_generations_limit integer not null default 20,
  hourly_reset_at timestamptz not null default now() + interval '1 hour',
  last_generation_at timestamptz, max_batch_size integer default 4, max_concurrent_generations integer default 2,
  total_generations_all_time integer default 0, updated_at timestamptz default now()
);
create table public.prompt_templates (
  id uuid primary key default gen_random_uuid(), name text not null, prompt text not null,
    user_id uuid references auth.users (id),
  category text, negative_prompt text, is_public boolean, use_count integer, created_at timestamptz default now()
);
comment on column public.user_rate_limits.max_batch_size is 'The app''s own words.';
alter table public.user_rate_limits enable row level security;
alter table public.prompt_templates enable row level security;
create policy "own limits" on public.user_rate_limits for all to authenticated
  using (user_id = auth.uid()) with check (user_id = auth.uid());
create policy "templates" on public.prompt_templates for select to authenticated using (true);
grant all on public.user_rate_limits, public.prompt_templates to authenticated, service_role;
create function public.get_user_limits(p_user_id uuid) returns table (daily_used integer, daily_limit integer)
language sql stable security definer as $$
  select daily_generations_count, daily_generations_limit from public.user_rate_limits where user_id = p_user_id
$$;
insert into public.user_rate_limits (user_id, daily_generations_count, total_generations_all_time)
values ('11111111-1111-4111-8111-111111111111', 7, 70);
insert into public.prompt_templates (name, prompt, is_public) values ('Fox', 'a red fox', true);
