-- before_rate_limits_written()
-- A user's own token never raises a limit or clears a count.
-- Errors: PT403.
create function batchgen.before_rate_limits_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', 'Limits are set by the project''s admins.', 'user_rate_limits',
    'Ask an admin for other limits; get_user_limits tells yours.', null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.before_rate_limits_written() from public, anon, authenticated, service_role;
comment on function batchgen.before_rate_limits_written() is
  'Trigger: raises PT403 where a user''s own token writes limits.';

-- The functions that count run as their owner, and admins as themselves: the condition looks at whose statement it is.
create trigger batchgen_guard before insert or update or delete or truncate on public.user_rate_limits
for each statement
  when (current_user in ('anon', 'authenticated')) execute function batchgen.before_rate_limits_written();
