-- get_exports(p_limit)
-- exports_of_any_user, for the signed-in user only.
-- Errors: PT401 if nobody is signed in.
create function batchgen_api.get_exports(p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return (
    select coalesce(jsonb_agg(batchgen.export_answer(e) order by e.created_at desc, e.id), '[]')
    from (
      select x.* from batchgen.exports x where x.user_id = auth.uid()
      order by x.created_at desc, x.id limit greatest(0, least(coalesce(p_limit, 20), 100))
    ) e
  );
end
$$;
revoke execute on function batchgen_api.get_exports(integer) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_exports(integer) to authenticated;
comment on function batchgen_api.get_exports(integer) is 'Behind public.get_exports: for the signed-in user.';

-- exports_of_all_users(p_limit)
-- The newest exports of all users, for operators.
create function batchgen_api.exports_of_all_users(p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(batchgen.export_answer(e) order by e.created_at desc, e.id), '[]')
  from (
    select x.* from batchgen.exports x
    order by x.created_at desc, x.id limit greatest(0, least(coalesce(p_limit, 20), 100))
  ) e
$$;
revoke execute on function batchgen_api.exports_of_all_users(integer) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.exports_of_all_users(integer) to service_role;
comment on function batchgen_api.exports_of_all_users(integer) is 'Behind public.get_exports: for operators.';

-- get_exports(p_limit)
-- [{id, status, batch_ids, created_at, expires_at, pictures, done, missing, error, parts: [{name, path, bytes, url}]},
-- …]: the newest exports, at most 100, newest first; see batchgen.export_answer.
-- Caller: authenticated, for their own; service_role, for all users'.
-- Errors: PT401 if nobody is signed in.
create function public.get_exports(p_limit integer default 20) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.exports_of_all_users(integer)', 'execute') then
    return batchgen_api.exports_of_all_users(p_limit);
  end if;
  return batchgen_api.get_exports(p_limit);
end
$$;
revoke execute on function public.get_exports(integer) from public, anon, authenticated, service_role;
grant execute on function public.get_exports(integer) to authenticated, service_role;
comment on function public.get_exports(integer) is
  'The newest exports of the signed-in user, with links while they are ready.';
