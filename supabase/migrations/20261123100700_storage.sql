-- The bucket of finished pictures: public by URL, 50 MB a file, paths {user_id}/{generation_id}.{format}. Users reach
-- their own folder alone; the worker writes with the secret key. A plain Postgres without Storage skips this file.
--
-- What users store there is checked by nobody and served from the API's own address, so it is no SVG, which may hold
-- scripts. And the paths of a batch's pictures, which workers have checked, are written by workers alone: users remove
-- what lies there, and put nothing in its place. Both hold for policies of the app's own on the bucket, too: two
-- restrictive policies say so.
--
-- Hosted projects let the role postgres make policies on storage.objects, which belongs to somebody else. Where neither
-- that nor ownership is given, the rest goes on, and a warning says what Storage's owner has to run.
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

create function batchgen_api.may_store(p_name text) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_name ~* '\.(png|webp|jpe?g)$' and batchgen_api.may_be_written(p_name)
$$;
revoke execute on function batchgen_api.may_store(text) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.may_store(text) to authenticated;
comment on function batchgen_api.may_store(text) is 'Whether a user may store a file at a path: a picture of pixels, and none of a batch.';

do $$
declare
  v_statement text;
begin
  if not exists (
    select from pg_class c
    where c.relnamespace::regnamespace::text = 'storage' and c.relname in ('buckets', 'objects')
    having count(*) = 2
  ) then
    return;
  end if;

  begin
    insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
    values ('generated-images', 'generated-images', true, 52428800, array['image/png', 'image/webp', 'image/jpeg', 'image/svg+xml'])
    on conflict (id) do nothing;
  exception when insufficient_privilege then
    raise warning using message = format('%I may not make the bucket generated-images: make it in the dashboard.', current_user),
      detail = 'Public; at most 50 MB a file; image/png, image/webp, image/jpeg, image/svg+xml.';
  end;

  if exists (
    select from pg_policies where schemaname = 'storage' and tablename = 'objects' and policyname like 'batchgen: %'
  ) then
    return;
  end if;
  foreach v_statement in array array[
    $p$create policy "batchgen: owners list their pictures" on storage.objects for select to authenticated
      using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text)$p$,
    $p$create policy "batchgen: owners store in their folder" on storage.objects for insert to authenticated
      with check (
        bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
        and batchgen_api.may_store(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$,
    $p$create policy "batchgen: owners replace their pictures" on storage.objects for update to authenticated
      using (
        bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
        and batchgen_api.may_store(name)
      )
      with check (
        bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text
        and batchgen_api.may_store(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$,
    $p$create policy "batchgen: owners remove their pictures" on storage.objects for delete to authenticated
      using (bucket_id = 'generated-images' and (storage.foldername(name))[1] = (select auth.uid())::text)$p$,
    $p$create policy "batchgen: nobody stores drawings or in place of workers" on storage.objects
      as restrictive for insert to authenticated with check (
        bucket_id is distinct from 'generated-images'
        or batchgen_api.may_be_written(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$,
    $p$create policy "batchgen: nobody replaces what workers stored" on storage.objects
      as restrictive for update to authenticated
      using (bucket_id is distinct from 'generated-images' or batchgen_api.may_be_written(name))
      with check (
        bucket_id is distinct from 'generated-images'
        or batchgen_api.may_be_written(name) and coalesce(metadata::text, '') !~* 'image/svg'
      )$p$
  ] loop
    begin
      execute v_statement;
    exception when insufficient_privilege then
      raise warning using message = format('%I may make no policies on storage.objects.', current_user),
        detail = v_statement, hint = 'Run it as the owner of storage.objects.';
    end;
  end loop;
end
$$;
