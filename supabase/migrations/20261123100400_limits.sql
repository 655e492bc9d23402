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
-- A project may have its own function of this name, since the app calls it: replaced, whatever its return type.
-- squawk-ignore ban-drop-function
drop function if exists public.get_user_limits(uuid);
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

-- waiting_of(p_user_id, p_enough)
-- Number of the user's waiting items, counted up to p_enough. It stops there: whatever the age of the statistics, it
-- walks the index instead of gathering all waiting items in a bitmap first.
create function batchgen.waiting_of(p_user_id uuid, p_enough integer) returns integer
language plpgsql stable security definer set search_path = ''
set enable_seqscan = 'off' set enable_bitmapscan = 'off' set jit = 'off' as $$
begin
  return (
    select count(*)::integer from (
      select 1 from batchgen.queue q where q.user_id = p_user_id and q.state = 'waiting' and not q.is_suspect
      union all
      select 1 from batchgen.queue q where q.user_id = p_user_id and q.state = 'waiting' and q.is_suspect
      union all
      select 1 from batchgen.queue q where q.user_id = p_user_id and q.state in ('delayed', 'parked')
      limit p_enough
    ) w
  );
end
$$;
revoke execute on function batchgen.waiting_of(uuid, integer) from public, anon, authenticated, service_role;
comment on function batchgen.waiting_of(uuid, integer) is 'Number of a user''s waiting items, counted up to a maximum.';

-- windows_of(p_user_id)
-- The user's usage, limit and reset time for the current hour and day. A window that has ended, or never began, would
-- begin now.
create function batchgen.windows_of(p_user_id uuid) returns table (
  daily_used integer, daily_limit integer, daily_resets_at timestamptz,
  hourly_used integer, hourly_limit integer, hourly_resets_at timestamptz
)
language plpgsql stable security definer set search_path = '' rows 1 as $$
begin
  return query select
    case when r.daily_reset_at > now() then coalesce(r.daily_generations_count, 0) else 0 end,
    coalesce(r.daily_generations_limit, s.default_daily_limit),
    case when r.daily_reset_at > now() then r.daily_reset_at else now() + interval '1 day' end,
    case when r.hourly_reset_at > now() then coalesce(r.hourly_generations_count, 0) else 0 end,
    coalesce(r.hourly_generations_limit, s.default_hourly_limit),
    case when r.hourly_reset_at > now() then r.hourly_reset_at else now() + interval '1 hour' end
  from batchgen.settings s left join public.user_rate_limits r on r.user_id = p_user_id;
end
$$;
revoke execute on function batchgen.windows_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.windows_of(uuid) is 'A user''s usage, limit and reset time for the current hour and day.';

-- limit_in_the_way(p_user_id, p_items)
-- The first limit that p_items more items would exceed, longest-lasting limit first; no row if all of them fit.
create function batchgen.limit_in_the_way(p_user_id uuid, p_items integer)
returns table (code text, name text, used integer, allowed integer, resets_at timestamptz)
language plpgsql stable security definer set search_path = '' rows 1 as $$
begin
  return query select l.code, l.name, l.used, l.allowed, l.resets_at
  from batchgen.windows_of(p_user_id) w
  cross join batchgen.settings s
  cross join lateral (values
    (1, 'daily_limit', 'daily_generations_limit', w.daily_used, w.daily_limit, w.daily_resets_at),
    (2, 'hourly_limit', 'hourly_generations_limit', w.hourly_used, w.hourly_limit, w.hourly_resets_at),
    (3, 'too_many_waiting', 'max_waiting_per_user', batchgen.waiting_of(p_user_id, s.max_waiting_per_user),
      s.max_waiting_per_user, null)
  ) l (nth, code, name, used, allowed, resets_at)
  where l.used::bigint + p_items > l.allowed
  order by l.nth limit 1;
end
$$;
revoke execute on function batchgen.limit_in_the_way(uuid, integer) from public, anon, authenticated, service_role;
comment on function batchgen.limit_in_the_way(uuid, integer) is
  'The first limit that a number of further items would exceed.';

-- limit_sentence(p_code, p_used, p_allowed, p_resets_at, p_items)
-- The error message of a limit for a user who submits p_items more items; null if there is no such limit.
create function batchgen.limit_sentence(
  p_code text, p_used integer, p_allowed integer, p_resets_at timestamptz, p_items integer
) returns text
language sql stable set search_path = '' as $$
  select format('Your %s %s: %s of %s %s%s.%s', limits.label,
    case when p_used < p_allowed then 'does not allow that' else 'is reached' end,
    p_used, p_allowed, limits.usage,
    case when p_used < p_allowed then format(', and this needs %s more', p_items) end,
    ' It resets at ' || to_char(p_resets_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC.')
  from (values
    ('daily_limit', 'daily limit', 'items are used'),
    ('hourly_limit', 'hourly limit', 'items are used'),
    ('too_many_waiting', 'limit of waiting items', 'wait')
  ) limits (code, label, usage)
  where limits.code = p_code
$$;
revoke execute on function batchgen.limit_sentence(text, integer, integer, timestamptz, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.limit_sentence(text, integer, integer, timestamptz, integer) is
  'Error message of a limit, for the user.';

-- limit_remedy(p_code, p_used, p_allowed)
-- The remedy that goes with limit_sentence.
create function batchgen.limit_remedy(p_code text, p_used integer, p_allowed integer) returns text
language sql immutable set search_path = '' as $$
  select case
    when p_used < p_allowed then format('Send at most %s now.', p_allowed::bigint - p_used)
    when p_code = 'too_many_waiting' then 'Wait until some of them have run, or cancel some.'
    when p_allowed <= 0 then 'Ask an admin of the project for a higher limit.'
    else 'Try again after it resets.'
  end
$$;
revoke execute on function batchgen.limit_remedy(text, integer, integer) from public, anon, authenticated, service_role;
comment on function batchgen.limit_remedy(text, integer, integer) is 'Remedy for an exceeded limit, for the user.';

-- max_batch_size_of(p_user_id)
-- Maximum prompts per batch of the user: the one in settings, or a lower one in the user's row of user_rate_limits.
create function batchgen.max_batch_size_of(p_user_id uuid) returns integer
language sql stable security definer set search_path = '' as $$
  select least(s.max_batch_size, case when not batchgen.is_operator() then r.max_batch_size end)
  from batchgen.settings s left join public.user_rate_limits r on r.user_id = p_user_id
$$;
revoke execute on function batchgen.max_batch_size_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.max_batch_size_of(uuid) is 'Maximum prompts per batch of a user.';

-- refuse_over_limit(p_user_id, p_items)
-- Refuse p_items more items if they exceed a limit.
-- Errors: PT429 for the first limit that they would exceed.
create function batchgen.refuse_over_limit(p_user_id uuid, p_items integer) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_limit record;
  v_sentence text;
  v_remedy text;
begin
  select l.* into v_limit from batchgen.limit_in_the_way(p_user_id, p_items) l;
  if not found then
    return;
  end if;
  v_sentence := batchgen.limit_sentence(v_limit.code, v_limit.used, v_limit.allowed, v_limit.resets_at, p_items);
  v_remedy := batchgen.limit_remedy(v_limit.code, v_limit.used, v_limit.allowed);
  raise exception using errcode = 'PT429', message = v_sentence, hint = v_remedy,
    detail = jsonb_build_object(
      'code', v_limit.code, 'message', v_sentence, 'index', null, 'field', v_limit.name, 'limit', v_limit.allowed,
      'remedy', v_remedy,
      'resets_at', v_limit.resets_at,
      'retry_after_seconds',
      case when isfinite(v_limit.resets_at) then ceil(extract(epoch from v_limit.resets_at - now())) end
    )::text;
end
$$;
revoke execute on function batchgen.refuse_over_limit(uuid, integer) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_over_limit(uuid, integer) is 'Raises PT429 if further items would exceed a limit.';

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
