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
  is_black boolean default false
);
create index idx_images_generation on public.images (generation_id);
create index idx_images_user on public.images (user_id, created_at desc);
create index idx_images_source on public.images (source_image_id);
-- Whether a row names a file, and which pictures the retention may take.
create index idx_images_storage_path on public.images (storage_path);
create index idx_images_unsaved on public.images (created_at) where saved_at is null;

alter table public.images enable row level security;
revoke all on public.images from anon, authenticated, service_role;
grant select, delete on public.images to authenticated;
grant insert (
  generation_id, user_id, filename, storage_path, prompt, public_url, negative_prompt, model, style, width, height,
  format, file_size, blurhash, is_public, is_favorite, rating, download_count, archived_at, source_image_id,
  generation_strength
), update (filename, blurhash, is_public, is_favorite, rating, download_count, archived_at)
on public.images to authenticated;
grant select, insert, update, delete on public.images to service_role;
create policy "Owners read their images" on public.images
  for select to authenticated using (user_id = (select auth.uid()));
create policy "Owners insert their images" on public.images
  for insert to authenticated with check (user_id = (select auth.uid()));
create policy "Owners update their images" on public.images
  for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their images" on public.images
  for delete to authenticated using (user_id = (select auth.uid()));

comment on table public.images is
  'Finished pictures. The file itself lies in the bucket generated-images at storage_path.';
comment on column public.images.id is 'The picture.';
comment on column public.images.generation_id is 'The item that made it; empty once that is deleted.';
comment on column public.images.user_id is 'Whose picture it is.';
comment on column public.images.filename is 'Name of the file, for downloads.';
comment on column public.images.storage_path is 'Where the file lies in the bucket generated-images.';
comment on column public.images.prompt is 'The prompt that it was made from.';
comment on column public.images.public_url is 'Address of the file; whoever knows it sees the picture.';
comment on column public.images.negative_prompt is 'The negative prompt that it was made from.';
comment on column public.images.model is 'models.name of the model that made it.';
comment on column public.images.style is 'The app''s name of a style.';
comment on column public.images.width is 'Width in pixels.';
comment on column public.images.height is 'Height in pixels.';
comment on column public.images.format is 'File format: png, webp, jpeg or svg.';
comment on column public.images.file_size is 'Size of the file in bytes.';
comment on column public.images.blurhash is 'A few characters from which the app draws a blurred preview.';
comment on column public.images.is_public is 'Whether its owner shows it to others in the app.';
comment on column public.images.is_favorite is 'Whether its owner marked it as a favourite.';
comment on column public.images.rating is 'The owner''s rating.';
comment on column public.images.download_count is 'How often it was downloaded in the app.';
comment on column public.images.archived_at is 'When its owner put it away; empty for pictures in the gallery.';
comment on column public.images.source_image_id is 'The picture that this one was made from.';
comment on column public.images.generation_strength is
  'How far it was allowed to go from the one that it was made from.';
comment on column public.images.created_at is 'When the picture was stored.';
comment on column public.images.saved_at is
  'When its owner saved the picture; saved ones are kept whatever image_retention_days says.';
comment on column public.images.seed is 'The seed really used, where the provider tells.';
comment on column public.images.model_version is 'The model''s version really used, where the provider tells.';
comment on column public.images.is_black is
  'Whether the picture is all black: what safety filters leave in place of one.';
