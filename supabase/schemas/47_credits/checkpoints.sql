-- before_credits_inserted()
-- Register a transaction that writes to the credit ledger, before its first entry gets an id. move_credit_horizon waits
-- for no such transaction: it acts only if there is none. Writers do not wait for each other.
-- Locks: the ledger (advisory, shared), to the end of the transaction.
create function batchgen.before_credits_inserted() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('batchgen.credit_ledger', 0));
  return null;
end
$$;
revoke execute on function batchgen.before_credits_inserted() from public, anon, authenticated, service_role;
comment on function batchgen.before_credits_inserted() is
  'Trigger: registers a transaction that writes to the credit ledger.';

create trigger before_credits_inserted before insert on batchgen.credit_ledger
for each statement execute function batchgen.before_credits_inserted();

-- move_credit_horizon()
-- Move the horizon to the last entry of the ledger, if no open transaction has written any. Returns whether it did.
-- Caller: service_role; workers, in their housekeeping. A transaction of its own: writers wait until it ends.
-- Locks: the ledger (advisory), if it is free at once; then the row of credit_horizon.
create function public.move_credit_horizon() returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  if not pg_try_advisory_xact_lock(hashtextextended('batchgen.credit_ledger', 0)) then
    return false;
  end if;
  update batchgen.credit_horizon h set ledger_id = l.id
  from (select max(k.id) as id from batchgen.credit_ledger k) l where h.ledger_id < l.id;
  return true;
end
$$;
revoke execute on function public.move_credit_horizon() from public, anon, authenticated, service_role;
grant execute on function public.move_credit_horizon() to service_role;
comment on function public.move_credit_horizon() is
  'For workers: notes how far the credit ledger is complete, so that balances need not be summed from its beginning.';

-- keep_checkpoint(p_user_id)
-- Write a checkpoint for a user with more than 500 entries between the last one and the horizon.
-- Caller: hold_credits.
-- Locks: the user's checkpoint (advisory), if it is free at once; otherwise somebody else writes it.
create function batchgen.keep_checkpoint(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_horizon bigint := (select h.ledger_id from batchgen.credit_horizon h);
  v_last bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('batchgen.credit_checkpoint ' || p_user_id, 0)) then
    return;
  end if;
  v_last := coalesce((select c.ledger_id from batchgen.credit_checkpoints c where c.user_id = p_user_id), 0);
  if v_horizon - v_last <= 500 or not exists (
    select from batchgen.credit_ledger l
    where l.user_id = p_user_id and l.id > v_last and l.id <= v_horizon order by l.id offset 500
  ) then
    return;
  end if;
  insert into batchgen.credit_checkpoints as c (user_id, ledger_id, balance, held)
  select p_user_id, v_horizon, l.balance, l.held from batchgen.credits_between(p_user_id, v_last, v_horizon) l
  on conflict (user_id) do update
  set ledger_id = excluded.ledger_id, balance = c.balance + excluded.balance, held = c.held + excluded.held
  where c.ledger_id = v_last;
end
$$;
revoke execute on function batchgen.keep_checkpoint(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.keep_checkpoint(uuid) is 'Writes a checkpoint for a user with many new entries.';
