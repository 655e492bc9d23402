-- is_operator()
-- Whether the caller of the API, or whoever is connected, may submit in anybody's name. Holds within functions that run
-- as their owner, too.
create function batchgen.is_operator() returns boolean
language sql stable set search_path = '' as $$
  select has_function_privilege(
    coalesce(nullif(current_setting('role', true), 'none'), session_user::text), 'public.create_batch_as(uuid, jsonb)',
    'execute'
  )
$$;
revoke execute on function batchgen.is_operator() from public, anon, authenticated, service_role;
comment on function batchgen.is_operator() is 'Whether the caller may submit in anybody''s name.';
