-- credits_between(p_user_id, p_after, p_up_to)
-- Changes of the user's balance and held credits by entries after one id, up to another.
create function batchgen.credits_between(
  p_user_id uuid, p_after bigint, p_up_to bigint, out balance numeric, out held numeric
)
language sql stable security definer set search_path = '' as $$
  select
    coalesce(
      sum(case l.entry when 'grant' then l.amount when 'adjust' then l.amount when 'capture' then -l.amount end), 0
    ),
    coalesce(
      sum(case l.entry when 'hold' then l.amount when 'capture' then -l.amount when 'release' then -l.amount end), 0
    )
  from batchgen.credit_ledger l where l.user_id = p_user_id and l.id > p_after and l.id <= p_up_to
$$;
revoke execute on function batchgen.credits_between(uuid, bigint, bigint)
from public, anon, authenticated, service_role;
comment on function batchgen.credits_between(uuid, bigint, bigint) is
  'Changes of a user''s balance and held credits by some entries of the ledger.';

-- credits_of(p_user_id)
-- The user's balance, and how much of it is held for items under way: the checkpoint and all entries after it.
create function batchgen.credits_of(p_user_id uuid, out balance numeric, out held numeric)
language sql stable security definer set search_path = '' as $$
  select coalesce(c.balance, 0) + l.balance, coalesce(c.held, 0) + l.held
  from (values (p_user_id)) u (id)
  left join batchgen.credit_checkpoints c on c.user_id = u.id
  cross join lateral batchgen.credits_between(u.id, coalesce(c.ledger_id, 0), 9223372036854775807) l
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
