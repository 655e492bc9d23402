-- note_charge(p_generation_id, p_attempt, p_is_charged)
-- Record whether an order of unknown outcome was charged, according to the provider's bill. The provider is not asked
-- about the order after that. Refused while an item still waits for the order.
-- Caller: an admin.
create function batchgen.note_charge(p_generation_id uuid, p_attempt integer, p_is_charged boolean) returns void
language plpgsql set search_path = '' as $$
declare
  v_key uuid;
begin
  select c.order_key into v_key from batchgen.charges c
  where c.generation_id = p_generation_id and c.attempt = p_attempt and c.entry = 'attempt' and c.is_unknown;
  -- Wait for a session that is settling the order; it is settled then.
  perform 1 from batchgen.orders o where o.key = v_key for update;
  if exists (select from batchgen.orders o where o.key = v_key and o.ended_at is null) then
    perform batchgen.refuse('still_open', 'The item waits for this order.', 'p_attempt',
      'Try again when the item has ended.', null, null, 'PT409');
  end if;
  insert into batchgen.ledger (
    generation_id, attempt, entry, outcome, user_id, batch_id, model_id, provider, provider_model, provider_version,
    order_key, provider_job_id, price_usd, is_charged, amount_usd
  )
  select c.generation_id, c.attempt, 'settlement', 'person', c.user_id, c.batch_id, c.model_id, c.provider,
    c.provider_model, c.provider_version, c.order_key, c.provider_job_id, c.price_usd, p_is_charged,
    case when p_is_charged then coalesce(c.price_usd, 0) else 0 end
  from batchgen.charges c
  where c.generation_id = p_generation_id and c.attempt = p_attempt and c.entry = 'attempt' and c.is_unknown
    and p_is_charged is not null;
  if not found then
    perform batchgen.refuse('nothing_open', 'This attempt has no order of unknown outcome.', 'p_attempt',
      'See the rows of batchgen.charges with is_unknown.', null, null, 'PT404');
  end if;
  delete from batchgen.orders o where o.key = v_key;
end
$$;
revoke execute on function batchgen.note_charge(uuid, integer, boolean) from public, anon, authenticated, service_role;
comment on function batchgen.note_charge(uuid, integer, boolean) is
  'For admins: records whether an order of unknown outcome was charged.';
