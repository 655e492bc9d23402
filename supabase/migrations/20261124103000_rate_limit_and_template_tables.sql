-- Two tables that the app has beside its pictures: what each user may use and has used, and prompts to start from.
-- Like the baseline: created where they are missing; a project that has them keeps columns, policies and grants.
-- New on every project: nobody writes user_rate_limits with a user's token, whatever its policies allow.

do $$
begin
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

-- A table that already carries policies is the app's business and stays untouched.
do $$
begin
  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'user_rate_limits') then
    alter table public.user_rate_limits enable row level security;
    revoke all on public.user_rate_limits from anon, authenticated, service_role;
    grant select on public.user_rate_limits to authenticated;
    grant select, insert, update, delete on public.user_rate_limits to service_role;
    create policy "Owners read their limits" on public.user_rate_limits
      for select to authenticated using (user_id = (select auth.uid()));
  end if;

  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'prompt_templates') then
    alter table public.prompt_templates enable row level security;
    revoke all on public.prompt_templates from anon, authenticated, service_role;
    grant select, insert, update, delete on public.prompt_templates to authenticated, service_role;
    create policy "Owners read their templates, everybody the public ones" on public.prompt_templates
      for select to authenticated using (is_public or user_id = (select auth.uid()));
    create policy "Owners add templates" on public.prompt_templates
      for insert to authenticated with check (user_id = (select auth.uid()));
    create policy "Owners change their templates" on public.prompt_templates
      for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
    create policy "Owners delete their templates" on public.prompt_templates
      for delete to authenticated using (user_id = (select auth.uid()));
  end if;
end
$$;

-- batchgen.before_rate_limits_written(): a user's own token never raises a limit or clears a count. Raises PT403.
create function batchgen.before_rate_limits_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', 'Limits are set by the project''s admins.', 'user_rate_limits',
    'Ask an admin for other limits; get_user_limits tells yours.', null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.before_rate_limits_written() from public, anon, authenticated, service_role;
-- The functions that count run as their owner, and admins as themselves: the condition looks at whose statement it is.
create trigger batchgen_guard before insert or update or delete or truncate on public.user_rate_limits
for each statement when (current_user in ('anon', 'authenticated')) execute function batchgen.before_rate_limits_written();
