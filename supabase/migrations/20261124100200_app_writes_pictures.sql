-- The app's direct writes to pictures and tags, with its users' own tokens: their own pictures, as they like, but never a
-- row that stands for somebody else's file or item; tags are words that all share, and are only added to.
-- The rules stand in triggers and hold for an app's caller alone, as for items and batches.

create function batchgen.before_image_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(new.user_id);
  if not batchgen.is_in_folder(new.user_id, new.storage_path) then
    perform batchgen.refuse('not_yours', 'storage_path is outside your own folder.', 'storage_path', 'Use {user_id}/{generation_id}.{format}.',
      null, null, 'PT403');
  end if;
  -- The pictures of a batch are its worker's to record.
  if new.generation_id is not null and not exists (
    select from public.image_generations g where g.id = new.generation_id and batchgen.is_own(g.user_id) and g.batch_index is null
  ) then
    perform batchgen.refuse('not_yours', 'generation_id is not a single generation of yours.', 'generation_id',
      'Name a generation of your own, or none.', null, null, 'PT403');
  end if;
  perform batchgen.refuse_foreign_source(new.source_image_id);
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_image_inserted_by_app() from public, anon, authenticated, service_role;

-- A picture may be made from one's own or from a public one; which others there are is not told.
create function batchgen.refuse_foreign_source(p_image_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_image_id is not null and not exists (
    select from public.images i where i.id = p_image_id and (batchgen.is_own(i.user_id) or i.is_public)
  ) then
    perform batchgen.refuse('not_yours', 'source_image_id is not a picture of yours.', 'source_image_id',
      'Name a picture of your own, or none.', null, null, 'PT403');
  end if;
end
$$;
revoke execute on function batchgen.refuse_foreign_source(uuid) from public, anon, authenticated, service_role;

-- All but what ties the row to its owner, its item and its file, and how old it is.
create function batchgen.before_image_updated_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  perform batchgen.refuse_changes(
    jsonb_build_object('id', old.id, 'user_id', old.user_id, 'generation_id', old.generation_id, 'storage_path', old.storage_path,
      'created_at', old.created_at),
    jsonb_build_object('id', new.id, 'user_id', new.user_id, 'generation_id', new.generation_id, 'storage_path', new.storage_path,
      'created_at', new.created_at),
    '{}'
  );
  if new.source_image_id is distinct from old.source_image_id then
    perform batchgen.refuse_foreign_source(new.source_image_id);
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_updated_by_app() from public, anon, authenticated, service_role;

create function batchgen.before_image_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  return old;
end
$$;
revoke execute on function batchgen.before_image_deleted_by_app() from public, anon, authenticated, service_role;

-- The app inserts a tag, and takes error 23505 for "there already".
create function batchgen.before_tag_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'Nobody is signed in.', null, 'Sign in, then try again.', null, null, 'PT401');
  end if;
  new.name := batchgen.check_tag_name(new.name, 'name');
  if array[new.name] is distinct from batchgen.clean_tags(array[new.name]) then
    perform batchgen.refuse('not_allowed', 'A tag is lower case, with no space around it.', 'name', 'Trim it and make it lower case.');
  end if;
  if new.color is not null and not batchgen.is_color(new.color) then
    perform batchgen.refuse('not_allowed', 'color is no colour.', 'color', 'Send #rrggbb or a colour''s name, or leave it out.');
  end if;
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_tag_inserted_by_app() from public, anon, authenticated, service_role;

create function batchgen.before_image_tag_written_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_image_id uuid := case when tg_op = 'DELETE' then old.image_id else new.image_id end;
begin
  if not exists (select from public.images i where i.id = v_image_id and batchgen.is_own(i.user_id)) then
    perform batchgen.refuse('not_yours', 'This picture is somebody else''s.', 'image_id', 'Tag pictures of your own.', null, null, 'PT403');
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;
revoke execute on function batchgen.before_image_tag_written_by_app() from public, anon, authenticated, service_role;

create trigger batchgen_app_insert before insert on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_inserted_by_app();
create trigger batchgen_app_update before update on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_updated_by_app();
create trigger batchgen_app_delete before delete on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_deleted_by_app();
create trigger batchgen_app_truncate before truncate on public.images
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.refuse_app('Delete pictures of your own.');
create trigger batchgen_app_insert before insert on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_inserted_by_app();
create trigger batchgen_app_change before update or delete on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.refuse_app('Add a tag instead: all users share them.');
create trigger batchgen_app_truncate before truncate on public.tags
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.refuse_app('Add a tag instead: all users share them.');
create trigger batchgen_app_write before insert or delete on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.before_image_tag_written_by_app();
create trigger batchgen_app_update before update on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.refuse_app('Remove the tag and add another one.');
create trigger batchgen_app_truncate before truncate on public.image_tags
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.refuse_app('Remove tags of your own.');

-- On tables that had no policies of the app's, the verbs and policies for exactly these writes.
do $$
begin
  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.images') then
    grant insert (
      generation_id, user_id, filename, storage_path, prompt, public_url, negative_prompt, model, style, width, height, format,
      file_size, blurhash, is_public, is_favorite, rating, download_count, archived_at, source_image_id, generation_strength
    ), update (filename, blurhash, is_public, is_favorite, rating, download_count, archived_at), delete
    on public.images to authenticated;
    create policy "Owners insert their images" on public.images
      for insert to authenticated with check (user_id = (select auth.uid()));
    create policy "Owners update their images" on public.images
      for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
    create policy "Owners delete their images" on public.images
      for delete to authenticated using (user_id = (select auth.uid()));
  end if;

  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.tags') then
    grant insert (name, color) on public.tags to authenticated;
    create policy "Signed-in users add tags" on public.tags
      for insert to authenticated with check (name = lower(name) and (select auth.uid()) is not null);
  end if;

  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.image_tags') then
    grant insert (image_id, tag_id), delete on public.image_tags to authenticated;
    create policy "Owners tag their images" on public.image_tags
      for insert to authenticated
      with check (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));
    create policy "Owners untag their images" on public.image_tags
      for delete to authenticated
      using (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));
  end if;
end
$$;

-- What users ask by is found by an index on projects that had these tables, too; the baseline made them with the tables.
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_generation on public.images (generation_id);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_source on public.images (source_image_id);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_images_user on public.images (user_id, created_at desc);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_image_generations_user on public.image_generations (user_id, created_at desc);
