create table public.tags (
  id uuid primary key default gen_random_uuid(),
  name text not null unique check (name = lower(name)),
  color text,
  created_at timestamptz default now(),
  created_by uuid
);
create index idx_tags_created_by on public.tags (created_by) where created_by is not null;

alter table public.tags enable row level security;
revoke all on public.tags from anon, authenticated, service_role;
grant select, delete on public.tags to authenticated;
grant insert (name, color) on public.tags to authenticated;
grant select, insert, update, delete on public.tags to service_role;
-- All users share the tags; which pictures carry a tag is private to their owner.
create policy "Signed-in users read tags" on public.tags for select to authenticated using (true);
create policy "Signed-in users add tags" on public.tags
  for insert to authenticated with check (name = lower(name) and (select auth.uid()) is not null);
create policy "Users delete tags that they made" on public.tags
  for delete to authenticated using (created_by = (select auth.uid()));

comment on table public.tags is 'Tags for pictures: unique, in lower case.';
comment on column public.tags.id is 'Id of the tag.';
comment on column public.tags.name is 'The tag itself: unique, in lower case.';
comment on column public.tags.color is 'Colour of the tag in the app.';
comment on column public.tags.created_at is 'When the tag was first used.';
comment on column public.tags.created_by is 'User who created the tag; empty for tags of admins and older tags.';
