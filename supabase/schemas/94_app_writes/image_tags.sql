create function batchgen.before_image_tag_written_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_image_id uuid := case when tg_op = 'DELETE' then old.image_id else new.image_id end;
begin
  if not exists (select from public.images i where i.id = v_image_id and batchgen.is_own(i.user_id)) then
    perform batchgen.refuse('not_yours', 'This picture belongs to another user.', 'image_id',
      'Tag only your own pictures.', null, null, 'PT403');
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;
revoke execute on function batchgen.before_image_tag_written_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_tag_written_by_app() is
  'Trigger: limits which pictures a user may tag or untag.';

create trigger batchgen_app_write before insert or delete on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.before_image_tag_written_by_app();

create function batchgen.before_image_tag_counted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.image_tags x where x.image_id = new.image_id offset 49) then
    perform batchgen.refuse_rows('too_many_tags', 'image_tags', 'tags per picture', 50, 'Remove one first.');
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_tag_counted() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_tag_counted() is 'Trigger: limits the number of tags on a picture.';

create trigger batchgen_bounds before insert on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.before_image_tag_counted();

create trigger batchgen_rows after insert on public.image_tags
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.after_rows_inserted_by_app('200');

create trigger batchgen_app_update before update on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.refuse_app('Remove the tag and add another one.');

create trigger batchgen_app_truncate before truncate on public.image_tags
for each statement
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.refuse_app('Remove your own tags.');
