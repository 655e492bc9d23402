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
