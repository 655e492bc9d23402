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

comment on table public.prompt_templates is 'Prompt templates: each user''s own, and public ones for everybody.';
comment on column public.prompt_templates.id is 'Id of the template.';
comment on column public.prompt_templates.name is 'Name shown in the app.';
comment on column public.prompt_templates.prompt is 'The prompt.';
comment on column public.prompt_templates.user_id is 'Author; empty for the project''s own templates.';
comment on column public.prompt_templates.category is 'Category in the app.';
comment on column public.prompt_templates.negative_prompt is 'The negative prompt.';
comment on column public.prompt_templates.is_public is 'True if every signed-in user can read it.';
comment on column public.prompt_templates.use_count is 'Number of uses, counted by the app.';
comment on column public.prompt_templates.created_at is 'When the template was created.';
