-- credits_of(p_user_id)
-- The user's balance, and how much of it is held for items under way.
create function batchgen.credits_of(p_user_id uuid, out balance numeric, out held numeric)
language sql stable security definer set search_path = '' as $$
  select
    coalesce(
      sum(case l.entry when 'grant' then l.amount when 'adjust' then l.amount when 'capture' then -l.amount end), 0
    ),
    coalesce(
      sum(case l.entry when 'hold' then l.amount when 'capture' then -l.amount when 'release' then -l.amount end), 0
    )
  from batchgen.credit_ledger l where l.user_id = p_user_id
$$;
revoke execute on function batchgen.credits_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.credits_of(uuid) is 'A user''s balance and held credits, summed over the ledger.';

-- credits_available(p_user_id)
-- Credits that the user may spend now: the balance without what is held.
create function batchgen.credits_available(p_user_id uuid) returns numeric
language sql stable security definer set search_path = '' as $$
  select c.balance - c.held from batchgen.credits_of(p_user_id) c
$$;
revoke execute on function batchgen.credits_available(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.credits_available(uuid) is 'Credits that a user may spend now.';

create view batchgen.credit_balances with (security_invoker = on) as
select u.user_id, c.balance, c.held, c.balance - c.held as available
from (select distinct l.user_id from batchgen.credit_ledger l) u cross join lateral batchgen.credits_of(u.user_id) c;
revoke all on batchgen.credit_balances from public, anon, authenticated, service_role;
comment on view batchgen.credit_balances is 'Credits of each user who has ever had any.';
comment on column batchgen.credit_balances.user_id is 'The user.';
comment on column batchgen.credit_balances.balance is 'Grants and adjustments minus what pictures have cost.';
comment on column batchgen.credit_balances.held is 'Credits reserved for items under way.';
comment on column batchgen.credit_balances.available is 'Credits that the user may spend now.';
