-- is_operator()
-- True if the API caller, or the connected role, may submit for any user. Works inside security definer functions, too.
-- False while a worker runs a user's schedule, which has the user's limits.
create function batchgen.is_operator() returns boolean
language sql stable set search_path = '' as $$
  select coalesce(current_setting('batchgen.acts_as_user', true), '') <> 'on' and has_function_privilege(
    coalesce(nullif(current_setting('role', true), 'none'), session_user::text), 'public.create_batch_as(uuid, jsonb)',
    'execute'
  )
$$;
revoke execute on function batchgen.is_operator() from public, anon, authenticated, service_role;
comment on function batchgen.is_operator() is 'True if the caller may submit for any user.';
