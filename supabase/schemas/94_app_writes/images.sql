-- The app's direct writes to pictures: owners write theirs freely, but no row may refer to another user's file or item.

-- refuse_foreign_source(p_image_id)
-- Refuse a source picture that is neither the user's own nor public, without telling whether it exists.
create function batchgen.refuse_foreign_source(p_image_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_image_id is not null and not exists (
    select from public.images i where i.id = p_image_id and (batchgen.is_own(i.user_id) or i.is_public)
  ) then
    perform batchgen.refuse('not_yours', 'source_image_id is neither your own picture nor a public one.',
      'source_image_id', 'Use your own picture or a public one, or leave it out.', null, null, 'PT403');
  end if;
end
$$;
revoke execute on function batchgen.refuse_foreign_source(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_foreign_source(uuid) is 'Refuses a source picture that the user may not see.';

create function batchgen.before_image_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(new.user_id);
  if not batchgen.is_in_folder(new.user_id, new.storage_path) then
    perform batchgen.refuse('not_yours', 'storage_path is outside your own folder.', 'storage_path',
      'Use {user_id}/{generation_id}.{format}.', null, null, 'PT403');
  end if;
  -- Only the worker records the pictures of a batch.
  if new.generation_id is not null and not exists (
    select from public.image_generations g where g.id = new.generation_id and batchgen.is_own(g.user_id)
      and g.batch_index is null
  ) then
    perform batchgen.refuse('not_yours', 'generation_id is not one of your single generations.', 'generation_id',
      'Use one of your own, or leave it out.', null, null, 'PT403');
  end if;
  perform batchgen.refuse_foreign_source(new.source_image_id);
  if new.thumbnail_path is not null then
    perform batchgen.refuse_column('thumbnail_path');
  end if;
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_image_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_inserted_by_app() is 'Trigger: limits which pictures a user may add.';

create trigger batchgen_app_insert before insert on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_inserted_by_app();

-- before_image_updated_by_app()
-- Allow changes of all columns but the row's owner, item, files and creation time.
create function batchgen.before_image_updated_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  perform batchgen.refuse_changes(
    jsonb_build_object('id', old.id, 'user_id', old.user_id, 'generation_id', old.generation_id,
      'storage_path', old.storage_path, 'thumbnail_path', old.thumbnail_path, 'created_at', old.created_at),
    jsonb_build_object('id', new.id, 'user_id', new.user_id, 'generation_id', new.generation_id,
      'storage_path', new.storage_path, 'thumbnail_path', new.thumbnail_path, 'created_at', new.created_at),
    '{}'
  );
  if new.source_image_id is distinct from old.source_image_id then
    perform batchgen.refuse_foreign_source(new.source_image_id);
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_updated_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_updated_by_app() is
  'Trigger: limits what a user may change in a picture''s row.';

create trigger batchgen_app_update before update on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_updated_by_app();

create function batchgen.before_image_bounded() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.check_text(new.filename, 'filename', 255);
  perform batchgen.check_prompt(new.prompt, 'prompt');
  perform batchgen.check_prompt(new.negative_prompt, 'negative_prompt');
  perform batchgen.check_text(new.model, 'model', 200);
  perform batchgen.check_text(new.model_version, 'model_version', 200);
  perform batchgen.check_text(new.style, 'style', 200);
  perform batchgen.check_text(new.format, 'format', 20);
  perform batchgen.check_text(new.blurhash, 'blurhash', 200);
  perform batchgen.check_range(new.width, 'width', 1, 100000);
  perform batchgen.check_range(new.height, 'height', 1, 100000);
  perform batchgen.check_range(new.file_size, 'file_size', 0, 52428800);
  perform batchgen.check_range(new.rating, 'rating', 0, 10);
  perform batchgen.check_range(new.download_count, 'download_count', 0, 1000000000);
  perform batchgen.check_range(new.generation_strength, 'generation_strength', 0, 100);
  if not isfinite(new.archived_at) then
    perform batchgen.refuse('out_of_range', 'archived_at is not a finite time.', 'archived_at',
      'Send a time, or leave it out.');
  end if;
  if new.public_url is not null and (tg_op = 'INSERT' or new.public_url is distinct from old.public_url)
    and not batchgen.is_own_address(new.public_url, new.storage_path)
  then
    perform batchgen.refuse('not_allowed', 'public_url is not the address of storage_path in this project''s Storage.',
      'public_url', 'Send the URL from getPublicUrl, or leave it out.');
  end if;
  if new.public_url is not null and (select s.pictures from batchgen.settings s) = 'private' then
    new.public_url := null;
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_bounded() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_bounded() is 'Trigger: limits the values of a picture''s row.';

create trigger batchgen_bounds before insert or update on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_bounded();

-- after_images_inserted_by_app()
-- Limit the rows per user: far more than a gallery needs, few enough to keep one user from filling the table.
create function batchgen.after_images_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.images i where i.user_id = auth.uid() offset 100000) then
    perform batchgen.refuse_rows('too_many_pictures', 'images', 'rows per user', 100000,
      'Delete some of your pictures first.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_images_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_images_inserted_by_app() is 'Trigger: limits the number of pictures per user.';

create trigger batchgen_rows after insert on public.images
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');

create trigger batchgen_rows_of_user after insert on public.images for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.after_images_inserted_by_app();

create function batchgen.before_image_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  return old;
end
$$;
revoke execute on function batchgen.before_image_deleted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_deleted_by_app() is 'Trigger: limits which pictures a user may delete.';

create trigger batchgen_app_delete before delete on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_deleted_by_app();

create trigger batchgen_app_truncate before truncate on public.images
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.refuse_app('Delete your own pictures.');
