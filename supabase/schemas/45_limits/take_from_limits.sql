-- Limits of a user: how many items may wait, and how many may be put in within an hour and a day.
--
-- What a user has used is counted in user_rate_limits, under that row's lock, in the transaction that puts items into
-- the queue: two requests at once cannot both take the last place. A limit that is empty there is the default of
-- batchgen.settings. An hour and a day begin with the first item after the last ones are over.
-- What an operator puts in for a user (whoever may execute create_batch_as) counts, and is never refused.
--
-- Locks: the user's row in auth.users (FOR KEY SHARE), then their row in user_rate_limits, the way in which a user is
-- deleted; batches and items may be held before.
--
-- SQLSTATE PT429 (HTTP 429): a limit is reached and nothing was written. The error's detail is the JSON of every
-- refusal, with the limit's name as field, and resets_at and retry_after_seconds, which are null where no time helps.

-- hold_user(p_user_id)
-- Nobody deletes the user until this transaction ends.
-- Errors: PT401 where that has happened: a token outlives its user.
create function batchgen.hold_user(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform 1 from auth.users u where u.id = p_user_id for key share;
  if not found then
    perform batchgen.refuse('unknown_user', 'This user does not exist any more.', null, 'Sign in again.', null, null,
      'PT401');
  end if;
end
$$;
revoke execute on function batchgen.hold_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.hold_user(uuid) is
  'Nobody deletes the user until this transaction ends; PT401 where that has happened.';

-- lock_limits(p_user_id)
-- Locks the user's row in user_rate_limits, made where it is missing.
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
comment on function batchgen.lock_limits(uuid) is 'Locks a user''s row of user_rate_limits, made where it is missing.';

-- take_from_limits(p_user_id, p_items)
-- Counts items that this transaction puts into the queue for the user: new ones or retried ones, before they are there.
-- Items without an owner count nowhere.
-- Locks: the user's rows in auth.users and user_rate_limits, as above.
-- Errors: PT429 where a limit does not allow all of them, unless an operator asks.
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
  'Counts items that are put into the queue for a user, or raises PT429.';
