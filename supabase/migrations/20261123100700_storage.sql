-- The bucket of finished pictures: public by URL, 50 MB a file, paths {user_id}/{generation_id}.{format}. Users reach
-- their own folder alone; the worker writes with the secret key. A plain Postgres without Storage skips this file.
do $$
begin
  if to_regclass('storage.buckets') is null or to_regclass('storage.objects') is null then
    return;
  end if;
  insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
  values ('generated-images', 'generated-images', true, 52428800, array['image/png', 'image/webp', 'image/jpeg', 'image/svg+xml'])
  on conflict (id) do nothing;

  if not exists (select from pg_policies where schemaname = 'storage' and tablename = 'objects' and policyname like 'batchgen: %') then
    create policy "batchgen: owners list their pictures" on storage.objects for select to authenticated
      using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text);
    create policy "batchgen: owners store in their folder" on storage.objects for insert to authenticated
      with check (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text);
    create policy "batchgen: owners replace their pictures" on storage.objects for update to authenticated
      using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text)
      with check (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text);
    create policy "batchgen: owners remove their pictures" on storage.objects for delete to authenticated
      using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text);
  end if;
end
$$;
