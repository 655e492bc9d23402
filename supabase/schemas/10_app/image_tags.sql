create table public.image_tags (
  id uuid primary key default gen_random_uuid(),
  image_id uuid references public.images (id) on delete cascade,
  tag_id uuid references public.tags (id) on delete cascade,
  added_at timestamptz default now(),
  unique (image_id, tag_id)
);
create index idx_image_tags_tag on public.image_tags (tag_id);

alter table public.image_tags enable row level security;
revoke all on public.image_tags from anon, authenticated, service_role;
grant select, delete on public.image_tags to authenticated;
grant insert (image_id, tag_id) on public.image_tags to authenticated;
grant select, insert, update, delete on public.image_tags to service_role;
create policy "Owners read the tags of their images" on public.image_tags
  for select to authenticated
  using (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));
create policy "Owners tag their images" on public.image_tags
  for insert to authenticated
  with check (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));
create policy "Owners untag their images" on public.image_tags
  for delete to authenticated
  using (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));

comment on table public.image_tags is 'Tags of pictures: one row per picture and tag.';
comment on column public.image_tags.id is 'Id of the row.';
comment on column public.image_tags.image_id is 'The tagged picture.';
comment on column public.image_tags.tag_id is 'The tag.';
comment on column public.image_tags.added_at is 'When the picture was tagged.';
