-- before_rate_limits_written()
-- Keep a user's own token from raising limits and clearing counts.
-- Errors: PT403.
create function batchgen.before_rate_limits_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', 'Only the project''s admins can change limits.', 'user_rate_limits',
    'Ask an admin for other limits; get_user_limits shows yours.', null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.before_rate_limits_written() from public, anon, authenticated, service_role;
comment on function batchgen.before_rate_limits_written() is
  'Trigger: raises PT403 if a user''s own token writes limits.';

-- The counting functions run as their owner, and admins as themselves, so the condition tests the statement's role.
create trigger batchgen_guard before insert or update or delete or truncate on public.user_rate_limits
for each statement
  when (current_user in ('anon', 'authenticated')) execute function batchgen.before_rate_limits_written();
