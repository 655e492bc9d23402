-- Limits of a user: waiting items, and items submitted per hour and per day.
--
-- Usage is counted in user_rate_limits, under that row's lock, in the transaction that queues the items: two requests
-- at once cannot both take the last place. Where the row has no limit, the default in batchgen.settings applies. An
-- hour and a day begin with the first item after the previous ones have ended.
-- Items that an operator (a role that may execute create_batch_as) submits for a user count, and are never refused.
--
-- Locks: the user's row in auth.users (FOR KEY SHARE), then their row in user_rate_limits, in the order in which a user
-- is deleted; batches and items may be locked before.
--
-- SQLSTATE PT429 (HTTP 429): a limit is reached and nothing was written. The error's detail is the JSON of every
-- refusal, with the limit's name as field, and with resets_at and retry_after_seconds, which are null if waiting does
-- not help.

create function batchgen.refuse_deleted_user() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('unknown_user', 'This user no longer exists.', null, 'Sign in again.', null, null, 'PT401');
end
$$;
revoke execute on function batchgen.refuse_deleted_user() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_deleted_user() is 'Raises PT401: a token outlives its user.';

-- hold_user(p_user_id)
-- Keep the user from being deleted until this transaction ends.
-- Errors: PT401 if the user is deleted already: a token outlives its user.
create function batchgen.hold_user(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from auth.users u where u.id = p_user_id for key share;
  if not found then
    perform batchgen.refuse_deleted_user();
  end if;
end
$$;
revoke execute on function batchgen.hold_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.hold_user(uuid) is
  'Keeps a user from being deleted until this transaction ends; PT401 if already deleted.';

-- lock_limits(p_user_id)
-- Lock the user's row in user_rate_limits; create it if missing.
create function batchgen.lock_limits(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.hold_user(p_user_id);
  perform 1 from public.user_rate_limits r where r.user_id = p_user_id for update;
  if not found then
    insert into public.user_rate_limits (user_id) values (p_user_id) on conflict do nothing;
    perform 1 from public.user_rate_limits r where r.user_id = p_user_id for update;
  end if;
end
$$;
revoke execute on function batchgen.lock_limits(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.lock_limits(uuid) is 'Locks a user''s row in user_rate_limits; creates it if missing.';

-- take_from_limits(p_user_id, p_items)
-- Count items that this transaction is about to queue for the user, new or retried. Items without an owner are not
-- counted.
-- Locks: the user's rows in auth.users and user_rate_limits, as above.
-- Errors: PT429 if they exceed a limit, unless the caller is an operator.
create function batchgen.take_from_limits(p_user_id uuid, p_items integer) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or coalesce(p_items, 0) <= 0 then
    return;
  end if;
  perform batchgen.lock_limits(p_user_id);
  if not batchgen.is_operator() then
    perform batchgen.refuse_over_limit(p_user_id, p_items);
  end if;
  update public.user_rate_limits r
  set daily_generations_count = least(w.daily_used::bigint + p_items, 2147483647),
    daily_reset_at = w.daily_resets_at,
    hourly_generations_count = least(w.hourly_used::bigint + p_items, 2147483647),
    hourly_reset_at = w.hourly_resets_at,
    total_generations_all_time = least(coalesce(r.total_generations_all_time, 0), 9000000000000000000) + p_items,
    last_generation_at = now(),
    updated_at = now()
  from batchgen.windows_of(p_user_id) w
  where r.user_id = p_user_id;
end
$$;
revoke execute on function batchgen.take_from_limits(uuid, integer) from public, anon, authenticated, service_role;
comment on function batchgen.take_from_limits(uuid, integer) is
  'Counts items that are about to be queued for a user, or raises PT429.';
