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

alter table public.user_rate_limits enable row level security;
revoke all on public.user_rate_limits from anon, authenticated, service_role;
grant select on public.user_rate_limits to authenticated;
grant select, insert, update, delete on public.user_rate_limits to service_role;
create policy "Owners read their limits" on public.user_rate_limits
  for select to authenticated using (user_id = (select auth.uid()));

comment on table public.user_rate_limits is
  'Limits and usage of each user. create_batch and retries count usage; edit limits here. Users read their own row.';
comment on column public.user_rate_limits.user_id is
  'The user. Without a row here, the defaults in batchgen.settings apply.';
comment on column public.user_rate_limits.daily_generations_count is
  'Items submitted in the current day; 0 once daily_reset_at has passed.';
comment on column public.user_rate_limits.daily_generations_limit is
  'Maximum items per day; empty means default_daily_limit in batchgen.settings.';
comment on column public.user_rate_limits.daily_reset_at is
  'End of the current day, which began with the user''s first item. Clear it to start a new day.';
comment on column public.user_rate_limits.hourly_generations_count is
  'Items submitted in the current hour; 0 once hourly_reset_at has passed.';
comment on column public.user_rate_limits.hourly_generations_limit is
  'Maximum items per hour; empty means default_hourly_limit in batchgen.settings.';
comment on column public.user_rate_limits.hourly_reset_at is
  'End of the current hour, which began with the user''s first item. Clear it to start a new hour.';
comment on column public.user_rate_limits.last_generation_at is 'When the user last submitted items.';
comment on column public.user_rate_limits.max_batch_size is
  'Maximum prompts per batch for this user, if lower than max_batch_size in batchgen.settings.';
comment on column public.user_rate_limits.max_concurrent_generations is
  'Limit for the app''s single generations, reported by get_user_limits. Batches obey max_parallel_per_user in '
  'batchgen.settings instead.';
comment on column public.user_rate_limits.total_generations_all_time is
  'Number of items that the user has ever submitted.';
comment on column public.user_rate_limits.updated_at is 'When the counts last changed.';
