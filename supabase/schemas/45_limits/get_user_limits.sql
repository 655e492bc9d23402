-- active_of(p_user_id)
-- Number of pictures in progress for the user: items that a worker runs, and the app's single generations of the last
-- hour that have not ended.
create function batchgen.active_of(p_user_id uuid) returns integer
language sql stable security definer set search_path = '' as $$
  select (
    (select count(*) from batchgen.queue q where q.state = 'running' and q.user_id = p_user_id)
    + (
      select count(*) from public.image_generations g
      where g.user_id = p_user_id and g.batch_id is null and g.status in ('pending', 'processing')
        and g.created_at > now() - interval '1 hour'
    )
  )::integer
$$;
revoke execute on function batchgen.active_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.active_of(uuid) is 'Number of pictures in progress for a user.';

-- limits_of_any_user(p_user_id)
-- The answer of get_user_limits, for callers that may ask about any user.
create function batchgen_api.limits_of_any_user(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_answer jsonb;
  v_limit record;
begin
  if not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id.', null, null, 'PT404');
  end if;
  select l.* into v_limit from batchgen.limit_in_the_way(p_user_id, 1) l;
  select jsonb_build_object(
    'daily_used', w.daily_used, 'daily_limit', w.daily_limit, 'daily_reset_at', w.daily_resets_at,
    'hourly_used', w.hourly_used, 'hourly_limit', w.hourly_limit, 'hourly_reset_at', w.hourly_resets_at,
    'active_generations', batchgen.active_of(p_user_id),
    'max_concurrent', coalesce(r.max_concurrent_generations, s.max_parallel_per_user),
    'total_all_time', coalesce(r.total_generations_all_time, 0),
    'can_generate', v_limit.code is null,
    'limit_reason', batchgen.limit_sentence(v_limit.code, v_limit.used, v_limit.allowed, v_limit.resets_at, 1)
  ) into v_answer
  from batchgen.windows_of(p_user_id) w
  cross join batchgen.settings s
  left join public.user_rate_limits r on r.user_id = p_user_id;
  return v_answer;
end
$$;
revoke execute on function batchgen_api.limits_of_any_user(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.limits_of_any_user(uuid) to service_role;
comment on function batchgen_api.limits_of_any_user(uuid) is 'Behind public.get_user_limits: for operators.';

-- get_user_limits(p_user_id)
-- limits_of_any_user, for the signed-in user only.
-- Caller: public.get_user_limits, for authenticated.
-- Errors: PT401 if nobody is signed in; PT404 for another user.
create function batchgen_api.get_user_limits(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id is distinct from auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id.', null, null, 'PT404');
  end if;
  return batchgen_api.limits_of_any_user(p_user_id);
end
$$;
revoke execute on function batchgen_api.get_user_limits(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_user_limits(uuid) to authenticated;
comment on function batchgen_api.get_user_limits(uuid) is 'Behind public.get_user_limits: for the signed-in user.';

-- get_user_limits(p_user_id)
-- {daily_used, daily_limit, daily_reset_at, hourly_used, hourly_limit, hourly_reset_at, active_generations,
-- max_concurrent, total_all_time, can_generate, limit_reason}. can_generate: one more item would be accepted now;
-- limit_reason: otherwise the error message, else null.
-- Caller: authenticated, for themselves; service_role, for any user.
-- Errors: PT401 if nobody is signed in; PT404 if there is no such user, or it is not the signed-in one.
create function public.get_user_limits(p_user_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.limits_of_any_user(uuid)', 'execute') then
    return batchgen_api.limits_of_any_user(p_user_id);
  end if;
  return batchgen_api.get_user_limits(p_user_id);
end
$$;
revoke execute on function public.get_user_limits(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_user_limits(uuid) to authenticated, service_role;
comment on function public.get_user_limits(uuid) is
  'Limits and usage of the signed-in user, and whether one more item would be accepted now.';
