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
  is_black boolean default false,
  thumbnail_path text
);
create index idx_images_generation on public.images (generation_id);
create index idx_images_user on public.images (user_id, created_at desc);
create index idx_images_source on public.images (source_image_id);
-- For three questions: does any row name this file, as picture or thumbnail, and which pictures may retention delete?
create index idx_images_storage_path on public.images (storage_path);
create index idx_images_thumbnail_path on public.images (thumbnail_path) where thumbnail_path is not null;
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

comment on table public.images is 'Finished pictures. The file is in the bucket generated-images at storage_path.';
comment on column public.images.id is 'Id of the picture.';
comment on column public.images.generation_id is 'The item that made the picture; empty once the item is deleted.';
comment on column public.images.user_id is 'Owner of the picture.';
comment on column public.images.filename is 'File name for downloads.';
comment on column public.images.storage_path is 'Path of the file in the bucket generated-images.';
comment on column public.images.prompt is 'Prompt that the picture was made from.';
comment on column public.images.public_url is 'Public address of the file; anyone who knows it can see the picture.';
comment on column public.images.negative_prompt is 'Negative prompt that the picture was made from.';
comment on column public.images.model is 'models.name of the model that made the picture.';
comment on column public.images.style is 'Name of a style in the app.';
comment on column public.images.width is 'Width in pixels.';
comment on column public.images.height is 'Height in pixels.';
comment on column public.images.format is 'File format: png, webp or jpeg; svg only in rows of the app.';
comment on column public.images.file_size is 'Size of the file in bytes.';
comment on column public.images.blurhash is 'BlurHash: a short string from which the app draws a blurred preview.';
comment on column public.images.is_public is 'True if the owner shows the picture to others in the app.';
comment on column public.images.is_favorite is 'True if the owner marked the picture as a favourite.';
comment on column public.images.rating is 'The owner''s rating in stars, 1 to 5.';
comment on column public.images.download_count is 'Number of downloads in the app.';
comment on column public.images.archived_at is 'When the owner archived the picture; empty while it is in the gallery.';
comment on column public.images.source_image_id is 'The picture that this one was made from.';
comment on column public.images.generation_strength is
  'How far the picture was allowed to depart from its source picture.';
comment on column public.images.created_at is 'When the picture was stored.';
comment on column public.images.saved_at is
  'When the owner saved the picture; saved pictures are kept regardless of image_retention_days.';
comment on column public.images.seed is 'Seed actually used, if the provider reports it.';
comment on column public.images.model_version is 'Model version actually used, if the provider reports it.';
comment on column public.images.is_black is
  'True if the picture is entirely black, as safety filters return instead of a blocked picture.';
comment on column public.images.thumbnail_path is
  'Path of the small picture in the bucket generated-images: a WebP of at most 512 pixels a side; empty without one.';
