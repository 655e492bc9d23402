-- Bounds on what users write directly, with their own tokens: the length and kind of each value, the rows of one statement,
-- and the rows of one user. Rows from before stay as they are; service_role, admins and functions of ours are not looked
-- at. As in app_writes_*.sql the rules stand in triggers, and hold whatever policies and grants a project has.
--
-- SQLSTATE PT422: too_long, out_of_range, not_allowed. PT403: not_yours, not_writable. PT429: too_many_rows, too_many_tags,
-- too_many_templates, too_many_pictures, and the limits of limits.sql.

create function batchgen.check_text(p_text text, p_field text, p_most integer) returns void
language plpgsql set search_path = '' as $$
begin
  if length(p_text) > p_most then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field, length(p_text), p_most),
      p_field, format('Shorten it to %s characters.', p_most), null, to_jsonb(p_most));
  end if;
end
$$;
revoke execute on function batchgen.check_text(text, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.check_text(text, text, integer) is 'Refuses a text that is too long.';

create function batchgen.check_range(p_value double precision, p_field text, p_least double precision, p_most double precision)
returns void
language plpgsql set search_path = '' as $$
begin
  -- NaN is greater than every number.
  if not p_value between p_least and p_most then
    perform batchgen.refuse('out_of_range', format('%s is not between %s and %s.', p_field, p_least, p_most), p_field,
      'Send a number in that range, or leave it out.', null, to_jsonb(p_most));
  end if;
end
$$;
revoke execute on function batchgen.check_range(double precision, text, double precision, double precision)
from public, anon, authenticated, service_role;
comment on function batchgen.check_range(double precision, text, double precision, double precision) is
  'Refuses a number that is out of range.';

-- batchgen.refuse_rows(...): too many rows, of one statement or of one user.
create function batchgen.refuse_rows(p_code text, p_table text, p_what text, p_most integer, p_remedy text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse(p_code, format('%s: at most %s %s.', p_table, p_most, p_what), p_table, p_remedy, null, to_jsonb(p_most), 'PT429');
end
$$;
revoke execute on function batchgen.refuse_rows(text, text, text, integer, text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_rows(text, text, text, integer, text) is 'Refuses too many rows, of one statement or one user.';

-- For statements that insert: at most as many rows as the trigger says.
create function batchgen.after_rows_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if (select count(*) from new_rows) > tg_argv[0]::integer then
    perform batchgen.refuse_rows('too_many_rows', tg_table_name, 'rows are inserted at once', tg_argv[0]::integer, 'Send fewer at once.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_rows_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_rows_inserted_by_app() is 'Trigger: how many rows a user inserts at once.';

-- Words, colours, addresses.

-- Control characters, and those that turn or hide the text around them. Joiners, which scripts and emoji need, stay.
create function batchgen.has_hidden_characters(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text ~ '[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]'
$$;
revoke execute on function batchgen.has_hidden_characters(text) from public, anon, authenticated, service_role;
comment on function batchgen.has_hidden_characters(text) is 'Whether a text has control characters, or ones that turn or hide what is around them.';

create function batchgen.check_tag_name(p_name text, p_field text, p_index integer default null) returns text
language plpgsql set search_path = '' as $$
begin
  if batchgen.has_hidden_characters(p_name) then
    perform batchgen.refuse('not_allowed', format('%s has a tag with control characters or hidden ones.', p_field), p_field,
      'Write it with visible characters.', p_index);
  end if;
  return case when getdatabaseencoding() = 'UTF8' then normalize(p_name, NFC) else p_name end;
end
$$;
revoke execute on function batchgen.check_tag_name(text, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.check_tag_name(text, text, integer) is 'A tag''s name in its composed form (NFC); refuses hidden characters.';

-- As CSS writes colours: #rgb, #rgba, #rrggbb, #rrggbbaa, or one of its names.
create function batchgen.is_color(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text ~* '^#([0-9a-f]{3}|[0-9a-f]{4}|[0-9a-f]{6}|[0-9a-f]{8})$' or lower(p_text) = any (string_to_array(
    'aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood cadetblue '
    'chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod darkgray darkgreen darkgrey '
    'darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen darkslateblue darkslategray '
    'darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray dimgrey dodgerblue firebrick floralwhite forestgreen '
    'fuchsia gainsboro ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred indigo ivory khaki '
    'lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan lightgoldenrodyellow lightgray lightgreen '
    'lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime '
    'limegreen linen magenta maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen mediumslateblue '
    'mediumspringgreen mediumturquoise mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive '
    'olivedrab orange orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum '
    'powderblue purple rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell sienna silver '
    'skyblue slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato transparent turquoise violet wheat '
    'white whitesmoke yellow yellowgreen', ' '))
$$;
revoke execute on function batchgen.is_color(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_color(text) is 'Whether a text is a colour: #rgb, #rgba, #rrggbb, #rrggbbaa, or a name of CSS.';

-- batchgen.is_own_address(p_url, p_path): whether an address is that of the file at p_path in this project's bucket. The
-- project's own address is that of whoever issued the caller's token; a token that does not say so proves no host. http
-- is for this machine alone.
create function batchgen.is_own_address(p_url text, p_path text) returns boolean
language sql stable set search_path = '' as $$
  select coalesce(
    length(p_url) <= 2048
    and p_url ~ '^(https://[A-Za-z0-9.-]+|http://(127\.0\.0\.1|localhost|\[::1\]))(:[0-9]{1,5})?/storage/v1/object/public/generated-images/[^?#\s\\]+$'
    and right(p_url, length(p_path) + 1) = '/' || p_path
    and (i.origin is null or starts_with(p_url, i.origin || '/storage/v1/')),
    false)
  from (
    select substring(
      nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'iss' from '^(https?://[^/?#]+)/'
    ) as origin
  ) i
$$;
revoke execute on function batchgen.is_own_address(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.is_own_address(text, text) is 'Whether an address is that of a file in this project''s bucket.';

-- Pictures.

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
    perform batchgen.refuse('out_of_range', 'archived_at is no time.', 'archived_at', 'Send a time, or leave it out.');
  end if;
  if new.public_url is not null and (tg_op = 'INSERT' or new.public_url is distinct from old.public_url)
    and not batchgen.is_own_address(new.public_url, new.storage_path)
  then
    perform batchgen.refuse('not_allowed', 'public_url is not the address of storage_path in this project''s Storage.', 'public_url',
      'Send what getPublicUrl answers, or leave it out.');
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_bounded() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_bounded() is 'Trigger: what a user may write into a picture''s columns.';

-- So many rows that a user's gallery never comes to it, and that nobody fills the table with.
create function batchgen.after_images_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.images i where i.user_id = auth.uid() offset 100000) then
    perform batchgen.refuse_rows('too_many_pictures', 'images', 'rows are a user''s', 100000, 'Delete pictures of yours first.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_images_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_images_inserted_by_app() is 'Trigger: how many pictures a user may have.';

create trigger batchgen_bounds before insert or update on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_bounded();
create trigger batchgen_rows after insert on public.images referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');
create trigger batchgen_rows_of_user after insert on public.images for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.after_images_inserted_by_app();

-- Single generations: bounded, and counted like the items of a batch.

create function batchgen.before_item_bounded() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.check_text(new.model, 'model', 200);
  perform batchgen.check_text(new.style, 'style', 200);
  perform batchgen.check_text(new.source_image_url, 'source_image_url', 2048);
  if new.source_image_url ~* '^\s*[a-z][a-z0-9+.-]*:' and new.source_image_url !~* '^https?://[^\s]+$' then
    perform batchgen.refuse('not_allowed', 'source_image_url is no address of the web.', 'source_image_url', 'Send an https address.');
  end if;
  perform batchgen.check_range(new.generation_strength, 'generation_strength', 0, 100);
  return new;
end
$$;
revoke execute on function batchgen.before_item_bounded() from public, anon, authenticated, service_role;
comment on function batchgen.before_item_bounded() is 'Trigger: what a user may write into a single generation''s columns.';

create function batchgen.after_items_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.take_from_limits(auth.uid(), (select count(*)::integer from new_rows));
  return null;
end
$$;
revoke execute on function batchgen.after_items_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_items_inserted_by_app() is 'Trigger: single generations count in their user''s limits.';

create trigger batchgen_bounds before insert on public.image_generations
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_bounded();
create trigger batchgen_rows after insert on public.image_generations referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');
create trigger batchgen_rows_counted after insert on public.image_generations referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_items_inserted_by_app();

-- Tags: whoever makes one is written down, and may take it back while nobody else uses it.

alter table public.tags add column if not exists created_by uuid;
comment on column public.tags.created_by is 'The user who made the tag; empty for those of admins, and from before.';
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_tags_created_by on public.tags (created_by) where created_by is not null;

create function batchgen.before_tag_made() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.created_by := auth.uid();
  return new;
end
$$;
revoke execute on function batchgen.before_tag_made() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_made() is 'Trigger: a tag belongs to the user who makes it, directly or by a function.';
create trigger batchgen_made_by before insert on public.tags
for each row when (new.created_by is null or current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_made();

-- batchgen.count_tags(p_user_id): refuses where the user has made more tags than one may. One at a time for a user, so
-- that two statements at once see each other's.
create function batchgen.count_tags(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('batchgen.tags ' || p_user_id, 0));
  if exists (select from public.tags t where t.created_by = p_user_id offset 1000) then
    perform batchgen.refuse_rows('too_many_tags', 'tags', 'tags are made by one user', 1000, 'Use tags that are there, or delete some of yours.');
  end if;
end
$$;
revoke execute on function batchgen.count_tags(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.count_tags(uuid) is 'Refuses where a user has made more tags than one may.';

-- batchgen.check_new_tags(p_user_id, p_names): refuses names that a batch would make beyond that, before anything is paid.
create function batchgen.check_new_tags(p_user_id uuid, p_names text[]) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_new integer;
begin
  select count(distinct n.name) into v_new from unnest(p_names) n (name)
  where not exists (select from public.tags t where t.name = n.name);
  if v_new > 0 and not batchgen.is_operator()
    and exists (select from public.tags t where t.created_by = p_user_id offset greatest(1000 - v_new, 0))
  then
    perform batchgen.refuse_rows('too_many_tags', 'tags', 'tags are made by one user', 1000, 'Use tags that are there, or delete some of yours.');
  end if;
end
$$;
revoke execute on function batchgen.check_new_tags(uuid, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.check_new_tags(uuid, text[]) is 'Refuses new tags of a batch where its user has made too many.';

create function batchgen.after_tags_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.count_tags(auth.uid());
  return null;
end
$$;
revoke execute on function batchgen.after_tags_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_tags_inserted_by_app() is 'Trigger: how many tags a user may make.';

create function batchgen.before_tag_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not batchgen.is_own(old.created_by) then
    perform batchgen.refuse('not_yours', 'This tag is not one that you have made.', 'name', 'Take it off your pictures instead.', null, null, 'PT403');
  end if;
  if exists (
    select from public.image_tags x join public.images i on i.id = x.image_id
    where x.tag_id = old.id and not batchgen.is_own(i.user_id)
  ) then
    perform batchgen.refuse('not_yours', 'Others use this tag.', 'name', 'Take it off your pictures instead.', null, null, 'PT403');
  end if;
  return old;
end
$$;
revoke execute on function batchgen.before_tag_deleted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_deleted_by_app() is 'Trigger: which tags a user may delete.';

drop trigger batchgen_app_change on public.tags;
create trigger batchgen_app_change before update on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.refuse_app('Add a tag instead: all users share them.');
create trigger batchgen_app_delete before delete on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_deleted_by_app();
create trigger batchgen_rows after insert on public.tags referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.after_rows_inserted_by_app('20');
create trigger batchgen_rows_of_user after insert on public.tags for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.after_tags_inserted_by_app();
create trigger batchgen_rows after insert on public.image_tags referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.after_rows_inserted_by_app('200');

create function batchgen.before_image_tag_counted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.image_tags x where x.image_id = new.image_id offset 49) then
    perform batchgen.refuse_rows('too_many_tags', 'image_tags', 'tags are on one picture', 50, 'Take one off first.');
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_tag_counted() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_tag_counted() is 'Trigger: how many tags a user may put on a picture.';
create trigger batchgen_bounds before insert on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.before_image_tag_counted();

do $$
begin
  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.tags') then
    grant delete on public.tags to authenticated;
    create policy "Users delete tags that they made" on public.tags
      for delete to authenticated using (created_by = (select auth.uid()));
  end if;
end
$$;

-- Templates: bounded, counted, and shown to others only when an admin says so.

create function batchgen.before_template_written_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(case when tg_op = 'INSERT' then new.user_id else old.user_id end);
  if tg_op = 'DELETE' then
    return old;
  end if;
  perform batchgen.refuse_strangers(new.user_id);
  perform batchgen.check_text(new.name, 'name', 200);
  perform batchgen.check_text(new.category, 'category', 200);
  perform batchgen.check_prompt(new.prompt, 'prompt');
  perform batchgen.check_prompt(new.negative_prompt, 'negative_prompt');
  if tg_op = 'INSERT' then
    if coalesce(new.use_count, 0) <> 0 then
      perform batchgen.refuse_column('use_count');
    end if;
    if new.is_public then
      perform batchgen.refuse_publishing();
    end if;
    return new;
  end if;
  if new.use_count is distinct from old.use_count then
    perform batchgen.refuse_column('use_count');
  end if;
  if new.is_public and old.is_public is not true then
    perform batchgen.refuse_publishing();
  end if;
  -- What an admin has looked at is what others see.
  if new.is_public and (new.name, new.prompt, new.negative_prompt, new.category)
    is distinct from (old.name, old.prompt, old.negative_prompt, old.category)
  then
    new.is_public := false;
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_template_written_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_template_written_by_app() is 'Trigger: what a user may write of a prompt template.';

create function batchgen.refuse_publishing() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('not_writable', 'A template is made public by an admin.', 'is_public', 'Save it as private, and ask an admin to publish it.',
    null, null, 'PT403');
end
$$;
revoke execute on function batchgen.refuse_publishing() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_publishing() is 'Refuses a template that a user makes public.';

create function batchgen.after_templates_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('batchgen.templates ' || auth.uid(), 0));
  if exists (select from public.prompt_templates t where t.user_id = auth.uid() offset 1000) then
    perform batchgen.refuse_rows('too_many_templates', 'prompt_templates', 'templates are a user''s', 1000, 'Delete some of yours first.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_templates_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_templates_inserted_by_app() is 'Trigger: how many prompt templates a user may have.';

create trigger batchgen_app_write before insert or update or delete on public.prompt_templates
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.before_template_written_by_app();
create trigger batchgen_rows after insert on public.prompt_templates referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');
create trigger batchgen_rows_of_user after insert on public.prompt_templates for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.after_templates_inserted_by_app();
create trigger batchgen_app_truncate before truncate on public.prompt_templates
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.refuse_app('Delete templates of your own.');

-- Models are the admins'.
create trigger batchgen_guard before insert or update or delete or truncate on public.models
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.models'::regclass))
execute function batchgen.refuse_app('Models are set by the project''s admins.');

notify pgrst, 'reload schema';
