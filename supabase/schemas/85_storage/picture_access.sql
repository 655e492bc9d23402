-- Public or private pictures (batchgen.settings.pictures).
--
-- Public: the bucket is public, and images.public_url is the address of the file. Private: it is not, and public_url is
-- empty; owners ask Storage for signed links, which the policy "batchgen: owners list their pictures" allows them.

-- switch_bucket(p_is_public)
-- Make the bucket of the pictures public or private, as far as this role may, and return whether it is public now; null
-- if that cannot be seen, or if there is no bucket.
create function batchgen.switch_bucket(p_is_public boolean) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_is_public boolean;
begin
  -- As dynamic SQL, so that this function can be created and checked where there is no Storage.
  begin
    execute 'update storage.buckets set public = $1 where id = ''generated-images'' and public is distinct from $1'
    using p_is_public;
  exception when insufficient_privilege or undefined_table or invalid_schema_name then
    null;
  end;
  begin
    execute 'select b.public from storage.buckets b where b.id = ''generated-images''' into v_is_public;
  exception when insufficient_privilege or undefined_table or invalid_schema_name then
    null;
  end;
  return v_is_public;
end
$$;
revoke execute on function batchgen.switch_bucket(boolean) from public, anon, authenticated, service_role;
comment on function batchgen.switch_bucket(boolean) is 'Makes the bucket of the pictures public or private.';

-- after_pictures_switched()
-- Make the bucket follow settings.pictures, whoever changes it.
-- Locks: the table images, against writes, until the end of the transaction. So each row that is written meanwhile is
-- either committed before, and found by update_public_urls, or written by the new setting (store_pictures).
create function batchgen.after_pictures_switched() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  lock table public.images in share row exclusive mode;
  if batchgen.switch_bucket(new.pictures = 'public') <> (new.pictures = 'public') then
    raise warning 'The bucket generated-images could not be made %.', new.pictures
      using hint = format('Run batchgen storage %s, or change the bucket in the dashboard.', new.pictures);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_pictures_switched() from public, anon, authenticated, service_role;
comment on function batchgen.after_pictures_switched() is 'Trigger: makes the bucket follow settings.pictures.';

create trigger after_pictures_switched after update of pictures on batchgen.settings
for each row when (new.pictures is distinct from old.pictures) execute function batchgen.after_pictures_switched();

-- set_picture_access(p_pictures)
-- Make the pictures of the project public or private; the rows of images follow by update_public_urls. Returns
-- {pictures, is_bucket_public: null if this role cannot see the bucket}.
-- Caller: service_role.
-- Locks: as batchgen.after_pictures_switched.
-- Errors: PT422.
create function public.set_picture_access(p_pictures text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_pictures is null or p_pictures not in ('public', 'private') then
    perform batchgen.refuse_argument('p_pictures', 'is not public or private', 'Send one of the two words.');
  end if;
  update batchgen.settings s set pictures = p_pictures where s.pictures <> p_pictures;
  return jsonb_build_object('pictures', p_pictures,
    'is_bucket_public', batchgen.switch_bucket(p_pictures = 'public'));
end
$$;
revoke execute on function public.set_picture_access(text) from public, anon, authenticated, service_role;
grant execute on function public.set_picture_access(text) to service_role;
comment on function public.set_picture_access(text) is
  'For operators: makes the pictures of the project public or private.';

-- update_public_urls(p_project_url, p_after, p_limit)
-- Make images.public_url follow settings.pictures, for the next p_limit rows after the id p_after: empty it, or fill it
-- with the address at p_project_url (https://abc.supabase.co). Returns {checked, changed, last_id: null after the last
-- row}. Skips paths outside the owner's folder or with letters that addresses need encoded.
-- Caller: service_role.
-- Errors: PT422.
create function public.update_public_urls(
  p_project_url text, p_after uuid default '00000000-0000-0000-0000-000000000000', p_limit integer default 1000
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_is_public boolean := (select s.pictures = 'public' from batchgen.settings s);
  v_ids uuid[];
  v_changed integer;
begin
  if p_project_url is null or p_project_url !~ '^https?://[^/?#\s\\]+$' or length(p_project_url) > 300 then
    perform batchgen.refuse_argument('p_project_url', 'is not the address of a project',
      'Send one such as https://abc.supabase.co.');
  end if;
  if p_limit is null or p_limit not between 1 and 10000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 1 and 10000', 'Call again for further rows.');
  end if;
  v_ids := array(select i.id from public.images i where i.id > p_after order by i.id limit p_limit);
  update public.images i
  set public_url = case when v_is_public
    then p_project_url || '/storage/v1/object/public/generated-images/' || i.storage_path end
  where i.id = any (v_ids) and (i.public_url is null) = v_is_public
    and (not v_is_public or (batchgen.is_in_folder(i.user_id, i.storage_path) and i.storage_path ~ '^[\w./-]+$'));
  get diagnostics v_changed = row_count;
  return jsonb_build_object('checked', cardinality(v_ids), 'changed', v_changed,
    'last_id', case when cardinality(v_ids) = p_limit then v_ids[p_limit] end);
end
$$;
revoke execute on function public.update_public_urls(text, uuid, integer)
from public, anon, authenticated, service_role;
grant execute on function public.update_public_urls(text, uuid, integer) to service_role;
comment on function public.update_public_urls(text, uuid, integer) is
  'For operators: makes the public addresses of pictures follow the setting pictures, some rows per call.';

-- list_thumbnail(p_image_id, p_storage_path, p_thumbnail_path)
-- Record the thumbnail of a stored picture that has none. Returns false if the picture has one by now, has another
-- file, or is gone: then the caller's thumbnail is of no use.
-- Caller: service_role.
-- Errors: PT422.
create function public.list_thumbnail(p_image_id uuid, p_storage_path text, p_thumbnail_path text) returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  if exists (
    select from public.images i where i.id = p_image_id and not batchgen.is_in_folder(i.user_id, p_thumbnail_path)
  ) then
    perform batchgen.refuse_argument('p_thumbnail_path', 'is outside the owner''s folder',
      'Store the thumbnail beside its picture.');
  end if;
  update public.images i set thumbnail_path = p_thumbnail_path
  where i.id = p_image_id and i.storage_path = p_storage_path and i.thumbnail_path is null;
  return found;
end
$$;
revoke execute on function public.list_thumbnail(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.list_thumbnail(uuid, text, text) to service_role;
comment on function public.list_thumbnail(uuid, text, text) is
  'For operators: records the thumbnail of a picture that was stored without one.';
