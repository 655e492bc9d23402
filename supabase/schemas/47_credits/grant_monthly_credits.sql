-- grant_monthly_credits(p_limit)
-- Grant this month's credits to up to p_limit users who do not have them yet: settings.monthly_credits, or the user's
-- own in credit_terms. Months are calendar months in UTC. The key of a grant names its month, so that each user gets it
-- once, whatever number of workers call this; a month in which no worker ran is not made up for. If all users have
-- theirs, the next five minutes do nothing. Returns the number of grants.
-- Caller: service_role; workers, in their housekeeping.
-- Locks: the row of credit_schedule; skipped if another worker holds it.
-- Errors: PT422.
create function public.grant_monthly_credits(p_limit integer default 1000) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_month timestamp := date_trunc('month', clock_timestamp() at time zone 'UTC');
  v_key text := 'month ' || to_char(v_month, 'YYYY-MM');
  v_count integer;
begin
  if p_limit is null or p_limit not between 1 and 10000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 1 and 10000', 'Grant to 1 to 10000 users per call.');
  end if;
  if not (select s.credits from batchgen.settings s) then
    return 0;
  end if;
  perform 1 from batchgen.credit_schedule c where c.next_at <= clock_timestamp() for update skip locked;
  if not found then
    return 0;
  end if;
  insert into batchgen.credit_ledger (user_id, entry, amount, key, note)
  select u.id, 'grant', a.credits, v_key, to_char(v_month, '"Credits of" YYYY-MM')
  from auth.users u
  cross join batchgen.settings s
  left join batchgen.credit_terms t on t.user_id = u.id
  cross join lateral (select coalesce(t.monthly_credits, s.monthly_credits) as credits) a
  where a.credits > 0 and not exists (
    select from batchgen.credit_ledger l where l.user_id = u.id and l.key = v_key
  )
  limit p_limit
  on conflict do nothing;
  get diagnostics v_count = row_count;
  if v_count < p_limit then
    update batchgen.credit_schedule c set next_at = least(
      clock_timestamp() + interval '5 minutes', (v_month + interval '1 month') at time zone 'UTC'
    );
  end if;
  return v_count;
end
$$;
revoke execute on function public.grant_monthly_credits(integer) from public, anon, authenticated, service_role;
grant execute on function public.grant_monthly_credits(integer) to service_role;
comment on function public.grant_monthly_credits(integer) is
  'For workers: grants this month''s credits to users who do not have them yet.';
