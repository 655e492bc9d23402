-- The bucket of exports is private. Users read their own folder; only workers, with the secret key, write. It has no
-- size limit of its own: the project's applies, which settings.export_part_bytes must respect. The restrictive policy
-- holds against the app's own policies, too.
insert into storage.buckets (id, name, public) values ('batchgen-exports', 'batchgen-exports', false);

create policy "batchgen: owners read their exports" on storage.objects for select to authenticated
  using (bucket_id = 'batchgen-exports' and (storage.foldername(name))[1] = (select auth.uid())::text);
create policy "batchgen: nobody reaches exports of others or writes any" on storage.objects
  as restrictive for all to anon, authenticated
  using (
    bucket_id is distinct from 'batchgen-exports' or (storage.foldername(name))[1] = (select auth.uid())::text
  )
  with check (bucket_id is distinct from 'batchgen-exports');
