-- Row level security and grants. Users read their own rows and change them through functions. The result is the same
-- whether or not a project grants new tables by default.

-- Without security_invoker, a view bypasses row level security.
alter view public.batch_progress set (security_invoker = on);

alter table public.batch_generations enable row level security;
revoke all on public.batch_generations from anon, authenticated, service_role;
grant select on public.batch_generations to authenticated;
grant select, insert, update, delete on public.batch_generations to service_role;
revoke all on public.batch_progress from anon, authenticated, service_role;
grant select on public.batch_progress to authenticated, service_role;

do $$
begin
  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'batch_generations') then
    create policy "Owners read their batches" on public.batch_generations
      for select to authenticated using (user_id = (select auth.uid()));
  end if;
end
$$;

-- The app's own tables: a table that already has policies stays untouched.
do $$
begin
  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'image_generations') then
    alter table public.image_generations enable row level security;
    revoke all on public.image_generations from anon, authenticated, service_role;
    grant select on public.image_generations to authenticated;
    grant select, insert, update, delete on public.image_generations to service_role;
    create policy "Owners read their generations" on public.image_generations
      for select to authenticated using (user_id = (select auth.uid()));
  end if;

  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'images') then
    alter table public.images enable row level security;
    revoke all on public.images from anon, authenticated, service_role;
    grant select on public.images to authenticated;
    grant select, insert, update, delete on public.images to service_role;
    create policy "Owners read their images" on public.images
      for select to authenticated using (user_id = (select auth.uid()));
  end if;

  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'models') then
    alter table public.models enable row level security;
    revoke all on public.models from anon, authenticated, service_role;
    grant select on public.models to anon, authenticated;
    grant select, insert, update, delete on public.models to service_role;
    create policy "Everybody reads the active models" on public.models
      for select to anon, authenticated using (is_active);
  end if;

  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'tags') then
    alter table public.tags enable row level security;
    revoke all on public.tags from anon, authenticated, service_role;
    grant select on public.tags to authenticated;
    grant select, insert, update, delete on public.tags to service_role;
    -- All users share the tags; which pictures carry a tag is private to their owner.
    create policy "Signed-in users read tags" on public.tags for select to authenticated using (true);
  end if;

  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'image_tags') then
    alter table public.image_tags enable row level security;
    revoke all on public.image_tags from anon, authenticated, service_role;
    grant select on public.image_tags to authenticated;
    grant select, insert, update, delete on public.image_tags to service_role;
    create policy "Owners read the tags of their images" on public.image_tags
      for select to authenticated
      using (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));
  end if;

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
