-- Files that users store are not checked and are served from the API's own origin. So SVG, which may contain scripts,
-- is refused. And only workers write the paths of batch pictures, which they have checked: users may remove those files
-- but not replace them. Two restrictive policies enforce both against the app's own policies on the bucket, too.

-- may_be_written(p_name)
-- True if a user may write a file at this path under any policy: not an SVG, not a picture of a batch.
-- Caller: policies, as the user who stores a file.
create function batchgen_api.may_be_written(p_name text) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_name !~* '\.svgz?$' and not exists (
    select from public.image_generations g
    where g.batch_index is not null
      and g.id = substring(p_name from '^[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[^/]*)?$')::uuid
  )
$$;
revoke execute on function batchgen_api.may_be_written(text) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.may_be_written(text) to authenticated;
comment on function batchgen_api.may_be_written(text) is
  'True if a user may write a file at a path under any policy: not an SVG, not a picture of a batch.';

-- may_store(p_name)
-- True if a user may store a file at this path under batchgen's own policies: a raster image, not of a batch.
-- Caller: policies, as the user who stores a file.
create function batchgen_api.may_store(p_name text) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_name ~* '\.(png|webp|jpe?g)$' and batchgen_api.may_be_written(p_name)
$$;
revoke execute on function batchgen_api.may_store(text) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.may_store(text) to authenticated;
comment on function batchgen_api.may_store(text) is
  'True if a user may store a file at a path: a raster image, not a picture of a batch.';

create policy "batchgen: owners list their pictures" on storage.objects for select to authenticated
  using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text);
create policy "batchgen: owners store in their folder" on storage.objects for insert to authenticated
  with check (
    bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
    and batchgen_api.may_store(name) and coalesce(metadata::text, '') !~* 'image/svg'
  );
create policy "batchgen: owners replace their pictures" on storage.objects for update to authenticated
  using (
    bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
    and batchgen_api.may_store(name)
  )
  with check (
    bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
    and batchgen_api.may_store(name) and coalesce(metadata::text, '') !~* 'image/svg'
  );
create policy "batchgen: owners remove their pictures" on storage.objects for delete to authenticated
  using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text);
create policy "batchgen: nobody stores drawings or in place of workers" on storage.objects
  as restrictive for insert to authenticated with check (
    bucket_id is distinct from 'generated-images'
    or batchgen_api.may_be_written(name) and coalesce(metadata::text, '') !~* 'image/svg'
  );
create policy "batchgen: nobody replaces what workers stored" on storage.objects
  as restrictive for update to authenticated
  using (bucket_id is distinct from 'generated-images' or batchgen_api.may_be_written(name))
  with check (
    bucket_id is distinct from 'generated-images'
    or batchgen_api.may_be_written(name) and coalesce(metadata::text, '') !~* 'image/svg'
  );
