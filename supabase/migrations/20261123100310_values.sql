create function batchgen.check_text(p_text text, p_field text, p_most integer) returns void
language plpgsql set search_path = '' as $$
begin
  if length(p_text) > p_most then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field,
      length(p_text), p_most),
      p_field, format('Shorten it to %s characters.', p_most), null, to_jsonb(p_most));
  end if;
end
$$;
revoke execute on function batchgen.check_text(text, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.check_text(text, text, integer) is 'Refuses a text that is too long.';

create function batchgen.check_range(p_value double precision, p_field text, p_least double precision,
  p_most double precision)
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

-- check_prompt(p_text, p_field)
-- Refuse a prompt over settings.max_prompt_characters. A prompt outside a batch has the same limit as one in a batch.
create function batchgen.check_prompt(p_text text, p_field text) returns void
language plpgsql set search_path = '' as $$
declare
  v_most integer := (select s.max_prompt_characters from batchgen.settings s);
begin
  if length(p_text) > v_most then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field,
      length(p_text), v_most), p_field,
      format('Shorten it to %s characters.', v_most), null, to_jsonb(v_most));
  end if;
end
$$;
revoke execute on function batchgen.check_prompt(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.check_prompt(text, text) is 'Refuses a prompt longer than settings.max_prompt_characters.';

-- is_in_folder(p_user_id, p_path)
-- True if the path is in the user's folder of the bucket and does not lead out of it.
create function batchgen.is_in_folder(p_user_id uuid, p_path text) returns boolean
language sql immutable set search_path = '' as $$
  -- In bytes: the path is a key of two indexes, and an index key is at most 2,700 bytes.
  select coalesce(octet_length(p_path) <= 1024 and starts_with(p_path, p_user_id || '/')
    and p_path !~ '(^|/)(\.\.?)?(/|$)', false)
$$;
revoke execute on function batchgen.is_in_folder(uuid, text) from public, anon, authenticated, service_role;
comment on function batchgen.is_in_folder(uuid, text) is
  'True if a path is in the user''s folder and does not lead out of it.';

-- is_own_address(p_url, p_path)
-- True if a URL is the public address of the file at p_path in this project's bucket. The project's own origin is the
-- issuer of the caller's token; a token without one proves no host. http is allowed for this machine only.
create function batchgen.is_own_address(p_url text, p_path text) returns boolean
language sql stable set search_path = '' as $$
  select coalesce(
    length(p_url) <= 2048
    and p_url ~ ('^(https://[A-Za-z0-9.-]+|http://(127\.0\.0\.1|localhost|\[::1\]))(:[0-9]{1,5})?'
      '/storage/v1/object/public/generated-images/[^?#\s\\]+$')
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
comment on function batchgen.is_own_address(text, text) is
  'True if a URL is the public address of a file in this project''s bucket.';

create function batchgen.is_own(p_user_id uuid) returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce(p_user_id = auth.uid(), false)
$$;
revoke execute on function batchgen.is_own(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.is_own(uuid) is 'True if a row belongs to the signed-in user.';

-- owner_of(p_user_id, p_batch_id)
-- The owner of an item: its user, else the user of its batch, else the zero UUID.
create function batchgen.owner_of(p_user_id uuid, p_batch_id uuid) returns uuid
language sql stable security definer set search_path = '' as $$
  select coalesce(
    p_user_id, (select b.user_id from public.batch_generations b where b.id = p_batch_id),
    '00000000-0000-0000-0000-000000000000'
  )
$$;
revoke execute on function batchgen.owner_of(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.owner_of(uuid, uuid) is
  'The owner of an item: its user, else the user of its batch, else the zero UUID.';

-- place_of(p_priority)
-- An item's priority in the queue: the item's own, limited to ±1,000,000,000; 0 if it has none.
create function batchgen.place_of(p_priority integer) returns integer
language sql immutable set search_path = '' as $$
  select least(greatest(coalesce(p_priority, 0), -1000000000), 1000000000)
$$;
revoke execute on function batchgen.place_of(integer) from public, anon, authenticated, service_role;
comment on function batchgen.place_of(integer) is 'An item''s priority in the queue, limited to ±1,000,000,000.';

-- Errors that refuse a user's request.
--
-- SQLSTATE PT422 (HTTP 422): the request breaks a rule and nothing was written. The error's detail is JSON:
--   {code, message, index, field, limit, remedy}: a stable code, the position of the prompt from 0, the path of the
--   field, the limit, and the remedy.
-- SQLSTATE PT401 (HTTP 401): not signed in. PT403: the row is another user's, or may not be written. PT404: not found,
-- or not visible to the caller. PT409: another request came first. PT429: a limit is reached.

-- refuse(p_code, p_message, p_field, p_remedy, p_index, p_limit, p_errcode)
-- Raise the error that refuses a request. Every refusal of a user's request goes through it.
create function batchgen.refuse(
  p_code text, p_message text, p_field text, p_remedy text, p_index integer default null, p_limit jsonb default null,
  p_errcode text default 'PT422'
) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = p_errcode, message = p_message, hint = p_remedy,
    detail = jsonb_build_object(
      'code', p_code, 'message', p_message, 'index', p_index, 'field', p_field, 'limit', p_limit, 'remedy', p_remedy
    )::text;
end
$$;
revoke execute on function batchgen.refuse(text, text, text, text, integer, jsonb, text)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse(text, text, text, text, integer, jsonb, text) is
  'Refuses a request: raises an error with a JSON detail.';

-- refuse_rows(p_code, p_table, p_what, p_most, p_remedy)
-- Refuse too many rows, of one statement or of one user.
create function batchgen.refuse_rows(p_code text, p_table text, p_what text, p_most integer, p_remedy text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse(p_code, format('%s: at most %s %s.', p_table, p_most, p_what), p_table, p_remedy, null,
    to_jsonb(p_most), 'PT429');
end
$$;
revoke execute on function batchgen.refuse_rows(text, text, text, integer, text)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_rows(text, text, text, integer, text) is
  'Refuses too many rows, of one statement or one user.';

create function batchgen.refuse_batch() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('batch_not_found', 'Batch not found, or it belongs to another user.', 'p_batch_id',
    'Use the id of one of your batches.', null, null, 'PT404');
end
$$;
revoke execute on function batchgen.refuse_batch() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_batch() is 'Raises PT404: batch not found, or it belongs to another user.';

-- Errors that refuse a worker's call.
--
-- SQLSTATE PT409 (HTTP 409): the lease is no longer held; drop the result and write nothing.
-- SQLSTATE PT422 (HTTP 422): an argument is out of range; the message names it.

create function batchgen.refuse_argument(p_field text, p_problem text, p_remedy text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT422',
    message = format('%s %s', p_field, p_problem),
    detail = jsonb_build_object('code', 'invalid_argument', 'field', p_field, 'remedy', p_remedy)::text,
    hint = p_remedy;
end
$$;
revoke execute on function batchgen.refuse_argument(text, text, text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_argument(text, text, text) is
  'Raises PT422: an argument of a worker''s call is out of range.';

create function batchgen.lease_lost(p_generation_id uuid, p_lease_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT409',
    message = format('item %s no longer has lease %s', p_generation_id, p_lease_id),
    detail = jsonb_build_object('code', 'lease_lost', 'generation_id', p_generation_id, 'lease_id', p_lease_id)::text,
    hint = 'Drop the result: another worker owns the item, or it has ended.';
end
$$;
revoke execute on function batchgen.lease_lost(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.lease_lost(uuid, uuid) is 'Raises PT409: the lease is no longer held.';

create function batchgen.check_worker_arguments(p_worker text, p_lease_seconds integer) returns void
language plpgsql set search_path = '' as $$
begin
  if p_worker is null or btrim(p_worker) = '' or length(p_worker) > 200 then
    perform batchgen.refuse_argument('p_worker', 'is empty or longer than 200 characters',
      'Name the worker, for example host:pid.');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 86400 then
    perform batchgen.refuse_argument('p_lease_seconds', 'is not between 1 and 86400',
      'Choose a lease of 1 second to 1 day.');
  end if;
end
$$;
revoke execute on function batchgen.check_worker_arguments(text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.check_worker_arguments(text, integer) is
  'Checks the worker''s name and the lease seconds of a worker''s call.';

create function batchgen.check_tag_name(p_name text, p_field text, p_index integer default null) returns text
language plpgsql set search_path = '' as $$
begin
  if batchgen.has_hidden_characters(p_name) then
    perform batchgen.refuse('not_allowed', format('%s has a tag with control or invisible characters.', p_field),
      p_field, 'Use visible characters only.', p_index);
  end if;
  return case when getdatabaseencoding() = 'UTF8' then normalize(p_name, NFC) else p_name end;
end
$$;
revoke execute on function batchgen.check_tag_name(text, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.check_tag_name(text, text, integer) is
  'Returns a tag''s name in composed form (NFC); refuses invisible characters.';

-- clean_tags(p_tags)
-- Trim tags, lower their case and remove duplicates, keeping their order.
-- Errors: PT422 for an invalid tag.
create function batchgen.clean_tags(p_tags text[]) returns text[]
language plpgsql set search_path = '' as $$
declare
  v_tag text;
  v_name text;
  v_names text[] := '{}';
begin
  if coalesce(cardinality(p_tags), 0) = 0 then
    perform batchgen.refuse('tags_missing', 'p_tags has no tags.', 'p_tags', 'Send 1 to 20 tags.', null, to_jsonb(20));
  end if;
  if cardinality(p_tags) > 20 then
    perform batchgen.refuse('too_many_tags', format('p_tags has %s tags; at most 20 are allowed.', cardinality(p_tags)),
      'p_tags',
      'Send at most 20 tags.', null, to_jsonb(20));
  end if;
  foreach v_tag in array p_tags loop
    if length(v_tag) > 50 then
      perform batchgen.refuse('too_long', format('p_tags has a tag of %s characters; at most 50 are allowed.',
        length(v_tag)), 'p_tags',
        'Shorten it to 50 characters.', null, to_jsonb(50));
    end if;
    v_name := batchgen.check_tag_name(lower(btrim(v_tag, E' \t\r\n')), 'p_tags');
    if v_name is null or batchgen.is_blank(v_name) then
      perform batchgen.refuse('blank_tag', 'p_tags has an empty tag.', 'p_tags', 'Leave the tag out.');
    end if;
    if not v_name = any (v_names) then
      v_names := v_names || v_name;
    end if;
  end loop;
  return v_names;
end
$$;
revoke execute on function batchgen.clean_tags(text[]) from public, anon, authenticated, service_role;
comment on function batchgen.clean_tags(text[]) is
  'Trims tags, lowers their case, removes duplicates; PT422 for an invalid tag.';

-- count_tags(p_user_id)
-- Refuse if the user has created more than the maximum of 1,000 tags. A lock per user makes concurrent statements see
-- each other's tags.
create function batchgen.count_tags(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('batchgen.tags ' || p_user_id, 0));
  if exists (select from public.tags t where t.created_by = p_user_id offset 1000) then
    perform batchgen.refuse_rows('too_many_tags', 'tags', 'tags per user', 1000,
      'Use existing tags, or delete some of yours.');
  end if;
end
$$;
revoke execute on function batchgen.count_tags(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.count_tags(uuid) is 'Refuses if a user has created more than the maximum number of tags.';

-- check_new_tags(p_user_id, p_names)
-- Refuse new tags of a batch that would exceed that maximum, before anything is paid.
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
    perform batchgen.refuse_rows('too_many_tags', 'tags', 'tags per user', 1000,
      'Use existing tags, or delete some of yours.');
  end if;
end
$$;
revoke execute on function batchgen.check_new_tags(uuid, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.check_new_tags(uuid, text[]) is
  'Refuses new tags of a batch that would exceed its user''s maximum.';

-- is_blank(p_text)
-- True if a text has only white space, in any script (U+00A0, U+2000 to U+200F and so on count in every locale).
create function batchgen.is_blank(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text !~ '[^\s\u0000-\u0020\u0085\u00A0\u1680\u180E\u2000-\u200F\u2028-\u202F\u205F\u2060\u3000\uFEFF]'
$$;
revoke execute on function batchgen.is_blank(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_blank(text) is 'True if a text has only white space, in any script.';

-- has_hidden_characters(p_text)
-- True if a text has control characters, or characters that reorder or hide the text around them. Joiners, which
-- scripts and emoji need, are allowed.
create function batchgen.has_hidden_characters(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text ~ ('[\u0001-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff'
    '\ufff9-\ufffb\U000e0000-\U000e007f]')
$$;
revoke execute on function batchgen.has_hidden_characters(text) from public, anon, authenticated, service_role;
comment on function batchgen.has_hidden_characters(text) is
  'True if a text has control characters, or characters that reorder or hide the text around them.';

-- is_color(p_text)
-- True for a CSS colour: #rgb, #rgba, #rrggbb, #rrggbbaa, or a named colour.
create function batchgen.is_color(p_text text) returns boolean
language sql immutable set search_path = '' as $$
  select p_text ~* '^#([0-9a-f]{3}|[0-9a-f]{4}|[0-9a-f]{6}|[0-9a-f]{8})$' or lower(p_text) = any (string_to_array(
    'aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown '
    'burlywood cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan '
    'darkgoldenrod darkgray darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid '
    'darkred darksalmon darkseagreen darkslateblue darkslategray darkslategrey darkturquoise darkviolet '
    'deeppink deepskyblue dimgray dimgrey dodgerblue firebrick floralwhite forestgreen fuchsia gainsboro '
    'ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred indigo ivory khaki '
    'lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan lightgoldenrodyellow '
    'lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen lightskyblue lightslategray '
    'lightslategrey lightsteelblue lightyellow lime limegreen linen magenta maroon mediumaquamarine mediumblue '
    'mediumorchid mediumpurple mediumseagreen mediumslateblue mediumspringgreen mediumturquoise '
    'mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab orange '
    'orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru pink plum '
    'powderblue purple rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen seashell '
    'sienna silver skyblue slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato '
    'transparent turquoise violet wheat white whitesmoke yellow yellowgreen', ' '))
$$;
revoke execute on function batchgen.is_color(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_color(text) is
  'True for a CSS colour: #rgb, #rgba, #rrggbb, #rrggbbaa, or a named colour.';
