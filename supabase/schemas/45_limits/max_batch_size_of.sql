-- max_batch_size_of(p_user_id)
-- Maximum prompts per batch of the user: the one in settings, or a lower one in the user's row of user_rate_limits.
create function batchgen.max_batch_size_of(p_user_id uuid) returns integer
language sql stable security definer set search_path = '' as $$
  select least(s.max_batch_size, case when not batchgen.is_operator() then r.max_batch_size end)
  from batchgen.settings s left join public.user_rate_limits r on r.user_id = p_user_id
$$;
revoke execute on function batchgen.max_batch_size_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.max_batch_size_of(uuid) is 'Maximum prompts per batch of a user.';
