-- What users store in the bucket is checked by nobody and served from the API's own address, so it is no SVG, which may
-- hold scripts. And the paths of a batch's pictures, which workers have checked, are written by workers alone: users
-- remove what lies there, and put nothing in its place. Both hold for policies of the app's own on the bucket, too: two
-- restrictive policies say so.

-- may_be_written(p_name)
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
  'Whether a user may write a file at a path by whatever policy: no drawing, and no picture of a batch.';

-- may_store(p_name)
-- Caller: policies, as the user who stores a file.
create function batchgen_api.may_store(p_name text) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_name ~* '\.(png|webp|jpe?g)$' and batchgen_api.may_be_written(p_name)
$$;
revoke execute on function batchgen_api.may_store(text) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.may_store(text) to authenticated;
comment on function batchgen_api.may_store(text) is
  'Whether a user may store a file at a path: a picture of pixels, and none of a batch.';

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
