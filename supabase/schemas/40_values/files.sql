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
