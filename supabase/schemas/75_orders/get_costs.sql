-- get_costs(p_by, p_since, p_limit, p_batch_id)
-- Costs grouped by p_by: batch, user, day (in UTC) or model. p_since: only costs recorded at this time or later.
-- p_batch_id: only costs of this batch. Most expensive first, days newest first; at most p_limit rows.
-- Caller: service_role.
create function public.get_costs(
  p_by text, p_since timestamptz default null, p_limit integer default 100, p_batch_id uuid default null
)
returns table (key text, name text, attempts bigint, paid bigint, paid_usd numeric, unknown bigint, unknown_usd numeric)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
  if p_by is null or p_by not in ('batch', 'user', 'day', 'model') then
    perform batchgen.refuse_argument('p_by', 'is not batch, user, day or model', 'Send one of them.');
  end if;
  if p_limit is null or p_limit not between 1 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 1 and 1000',
      'Ask for fewer rows, or for a shorter time.');
  end if;
  return query
  select s.key,
    case p_by
      when 'batch' then (select b.name from public.batch_generations b where b.id::text = s.key)
      when 'model' then (select m.display_name from public.models m where m.id::text = s.key)
    end,
    s.attempts, s.paid, s.paid_usd, s.unknown, s.unknown_usd
  from (
    select case p_by when 'batch' then c.batch_id::text when 'user' then c.user_id::text when 'model'
      then c.model_id::text
        else ((c.noted_at at time zone 'UTC')::date)::text end as key,
      count(*) filter (where c.entry = 'attempt') as attempts, count(*) filter (where c.is_paid) as paid,
      sum(c.amount_usd) as paid_usd, count(*) filter (where c.is_unknown) as unknown,
      coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
    from batchgen.charges c
    where (p_since is null or c.noted_at >= p_since) and (p_batch_id is null or c.batch_id = p_batch_id)
    group by 1
  ) s
  order by case when p_by = 'day' then s.key end desc, s.paid_usd desc, s.unknown_usd desc, s.key
  limit p_limit;
end
$$;
revoke execute on function public.get_costs(text, timestamptz, integer, uuid)
from public, anon, authenticated, service_role;
grant execute on function public.get_costs(text, timestamptz, integer, uuid) to service_role;
comment on function public.get_costs(text, timestamptz, integer, uuid) is
  'For operators: costs of pictures, by batch, user, day or model.';
