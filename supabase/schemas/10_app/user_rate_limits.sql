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
  'What each user may put in and has used. Counted by create_batch and by retries; limits are edited here. Users read '
  'their own row.';
comment on column public.user_rate_limits.user_id is
  'The user. One without a row has the defaults of batchgen.settings.';
comment on column public.user_rate_limits.daily_generations_count is
  'Items put in since the day began, if daily_reset_at is not over.';
comment on column public.user_rate_limits.daily_generations_limit is
  'Most items in a day; empty means default_daily_limit of batchgen.settings.';
comment on column public.user_rate_limits.daily_reset_at is
  'When the day ends that began with the user''s first item. Clear it to begin anew.';
comment on column public.user_rate_limits.hourly_generations_count is
  'Items put in since the hour began, if hourly_reset_at is not over.';
comment on column public.user_rate_limits.hourly_generations_limit is
  'Most items in an hour; empty means default_hourly_limit of batchgen.settings.';
comment on column public.user_rate_limits.hourly_reset_at is
  'When the hour ends that began with the user''s first item. Clear it to begin anew.';
comment on column public.user_rate_limits.last_generation_at is 'When the user last put items in.';
comment on column public.user_rate_limits.max_batch_size is
  'Most prompts of a batch of this user, where that is fewer than max_batch_size of batchgen.settings.';
comment on column public.user_rate_limits.max_concurrent_generations is
  'For the app''s single generations, and told by get_user_limits. How many items of batches run at once is '
  'max_parallel_per_user of batchgen.settings.';
comment on column public.user_rate_limits.total_generations_all_time is 'Items that the user ever put in.';
comment on column public.user_rate_limits.updated_at is 'When the counts last changed.';
