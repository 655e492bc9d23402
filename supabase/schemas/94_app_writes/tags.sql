-- All users share the tags. The user who created a tag may delete it while no other user uses it.

-- before_tag_inserted_by_app()
-- Check a tag that the app inserts; the app takes error 23505 to mean that it exists already.
create function batchgen.before_tag_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  new.name := batchgen.check_tag_name(new.name, 'name');
  if array[new.name] is distinct from batchgen.clean_tags(array[new.name]) then
    perform batchgen.refuse('not_allowed', 'A tag must be lower case, without surrounding spaces.', 'name',
      'Trim it and make it lower case.');
  end if;
  if new.color is not null and not batchgen.is_color(new.color) then
    perform batchgen.refuse('not_allowed', 'color is not a colour.', 'color',
      'Send #rrggbb or a CSS colour name, or leave it out.');
  end if;
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_tag_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_inserted_by_app() is 'Trigger: limits which tags a user may add.';

create trigger batchgen_app_insert before insert on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_inserted_by_app();

create function batchgen.before_tag_made() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.created_by := auth.uid();
  return new;
end
$$;
revoke execute on function batchgen.before_tag_made() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_made() is
  'Trigger: records the user who creates a tag, directly or through a function.';

create trigger batchgen_made_by before insert on public.tags
for each row when (new.created_by is null or current_user in ('anon', 'authenticated')
  or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_made();

create function batchgen.after_tags_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.count_tags(auth.uid());
  return null;
end
$$;
revoke execute on function batchgen.after_tags_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_tags_inserted_by_app() is
  'Trigger: limits the number of tags that a user may create.';

create trigger batchgen_rows after insert on public.tags
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.after_rows_inserted_by_app('20');

create trigger batchgen_rows_of_user after insert on public.tags for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.after_tags_inserted_by_app();

create trigger batchgen_app_change before update on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.refuse_app('Add a tag instead: all users share them.');

create function batchgen.before_tag_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not batchgen.is_own(old.created_by) then
    perform batchgen.refuse('not_yours', 'You did not create this tag.', 'name',
      'Remove it from your pictures instead.', null, null, 'PT403');
  end if;
  if exists (
    select from public.image_tags x join public.images i on i.id = x.image_id
    where x.tag_id = old.id and not batchgen.is_own(i.user_id)
  ) then
    perform batchgen.refuse('not_yours', 'Other users use this tag.', 'name', 'Remove it from your pictures instead.',
      null, null, 'PT403');
  end if;
  return old;
end
$$;
revoke execute on function batchgen.before_tag_deleted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_deleted_by_app() is 'Trigger: limits which tags a user may delete.';

create trigger batchgen_app_delete before delete on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_deleted_by_app();

create trigger batchgen_app_truncate before truncate on public.tags
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.refuse_app('Add a tag instead: all users share them.');
