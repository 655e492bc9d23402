-- The bucket of finished pictures: public by URL, 50 MB per file, paths {user_id}/{generation_id}.{format}. Users can
-- access only their own folder; the worker writes with the secret key.
insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
values (
  'generated-images', 'generated-images', true, 52428800,
  array['image/png', 'image/webp', 'image/jpeg', 'image/svg+xml']
);
