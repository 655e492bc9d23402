-- credit_figures(p_user_id)
-- {balance, held, available} of the user.
create function batchgen.credit_figures(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'balance', trim_scale(c.balance), 'held', trim_scale(c.held), 'available', trim_scale(c.balance - c.held)
  )
  from batchgen.credits_of(p_user_id) c
$$;
revoke execute on function batchgen.credit_figures(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.credit_figures(uuid) is 'Balance, held and available credits of a user, as JSON.';

-- monthly_credits_of(p_user_id)
-- Credits that the user gets each month.
create function batchgen.monthly_credits_of(p_user_id uuid) returns numeric
language sql stable security definer set search_path = '' as $$
  select coalesce(
    (select t.monthly_credits from batchgen.credit_terms t where t.user_id = p_user_id),
    (select s.monthly_credits from batchgen.settings s)
  )
$$;
revoke execute on function batchgen.monthly_credits_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.monthly_credits_of(uuid) is 'Credits that a user gets each month.';

-- credits_of_any_user(p_user_id)
-- The answer of get_credits, for callers that may ask about any user.
-- Errors: PT404.
create function batchgen_api.credits_of_any_user(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_user(p_user_id);
  return batchgen.credit_figures(p_user_id) || jsonb_build_object(
    'is_on', (select s.credits from batchgen.settings s),
    'monthly_credits', trim_scale(batchgen.monthly_credits_of(p_user_id)),
    'prices', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'model_id', m.id, 'name', m.name, 'display_name', m.display_name,
            'credits', trim_scale(batchgen.price_of(p_user_id, m.id))
          ) order by m.is_default desc nulls last, m.sort_order, m.display_name, m.id
        ), '[]'
      )
      from public.models m where m.is_active
    )
  );
end
$$;
revoke execute on function batchgen_api.credits_of_any_user(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.credits_of_any_user(uuid) to service_role;
comment on function batchgen_api.credits_of_any_user(uuid) is 'Behind public.get_credits: for operators.';

-- check_user(p_user_id)
-- Errors: PT404 if there is no such user.
create function batchgen.check_user(p_user_id uuid) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id.', null, null, 'PT404');
  end if;
end
$$;
revoke execute on function batchgen.check_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.check_user(uuid) is 'Raises PT404 if there is no such user.';

-- check_own_user(p_user_id)
-- Errors: PT401 if nobody is signed in; PT404 if p_user_id is given and another user's.
create function batchgen.check_own_user(p_user_id uuid) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id <> auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id.', null, null, 'PT404');
  end if;
end
$$;
revoke execute on function batchgen.check_own_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.check_own_user(uuid) is 'Raises PT404 if a user id is not the signed-in user''s.';

create function batchgen_api.get_credits(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_own_user(p_user_id);
  return batchgen_api.credits_of_any_user(auth.uid());
end
$$;
revoke execute on function batchgen_api.get_credits(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_credits(uuid) to authenticated;
comment on function batchgen_api.get_credits(uuid) is 'Behind public.get_credits: for the signed-in user.';

-- get_credits(p_user_id)
-- Credits of the signed-in user, or for operators of p_user_id: {balance, held, available, is_on, monthly_credits,
-- prices: [{model_id, name, display_name, credits}]}, with a price per active model.
-- Caller: authenticated, for themselves; service_role, for any user.
-- Errors: PT401 if nobody is signed in; PT404 if there is no such user, or it is not the signed-in one.
create function public.get_credits(p_user_id uuid default null) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.credits_of_any_user(uuid)', 'execute') then
    return batchgen_api.credits_of_any_user(p_user_id);
  end if;
  return batchgen_api.get_credits(p_user_id);
end
$$;
revoke execute on function public.get_credits(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_credits(uuid) to authenticated, service_role;
comment on function public.get_credits(uuid) is
  'Credits of the signed-in user: balance, held, available, and the price of a picture per model.';
