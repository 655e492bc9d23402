-- Refusals of items that a user cannot pay for.
--
-- SQLSTATE PT402 (HTTP 402): credits_short; nothing was written. The error's detail is the JSON of every refusal, with
-- needed and available.
--
-- Locks: whoever decides on credits holds the payer's row in user_rate_limits (batchgen.lock_limits), taken after
-- batches and items, and before queue rows. Two requests at once cannot both spend the last credit. Holds are placed
-- under that lock; captures and releases, which only add to what is available, take none. So claims, completions and
-- other ends of items never wait for a payer, whatever users a completion has. An edit in the dashboard is not decided
-- on and takes no lock, either: its holds may exceed the balance.

-- refuse_credits(p_needed, p_available)
-- Refuse items for lack of credits.
-- Errors: PT402.
create function batchgen.refuse_credits(p_needed numeric, p_available numeric) returns void
language plpgsql set search_path = '' as $$
declare
  v_needed numeric := trim_scale(p_needed);
  v_available numeric := trim_scale(p_available);
  v_sentence text := format('Not enough credits: %s needed, %s available.', v_needed, v_available);
  v_remedy text := case
    when v_available > 0 then 'Send fewer items or choose a cheaper model, or ask an admin of the project for credits.'
    else 'Ask an admin of the project for credits, or choose a model that costs nothing.'
  end;
begin
  raise exception using errcode = 'PT402', message = v_sentence, hint = v_remedy,
    detail = jsonb_build_object(
      'code', 'credits_short', 'message', v_sentence, 'index', null, 'field', 'credits', 'limit', v_available,
      'remedy', v_remedy, 'needed', v_needed, 'available', v_available
    )::text;
end
$$;
revoke execute on function batchgen.refuse_credits(numeric, numeric) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_credits(numeric, numeric) is 'Raises PT402: credits_short.';

-- refuse_short_credits(p_user_id, p_needed)
-- Refuse new items that cost more credits than the user has available. Operators are refused, too: they can grant
-- credits first.
-- Caller: check_cost_and_tags and before_retries_are_queued, with the payer's lock except for a preview, before
-- anything is held.
-- Errors: PT402.
create function batchgen.refuse_short_credits(p_user_id uuid, p_needed numeric) returns void
language plpgsql stable security definer set search_path = '' as $$
declare
  v_available numeric;
begin
  if coalesce(p_needed, 0) <= 0 then
    return;
  end if;
  v_available := batchgen.credits_available(p_user_id);
  if v_available < p_needed then
    perform batchgen.refuse_credits(p_needed, v_available);
  end if;
end
$$;
revoke execute on function batchgen.refuse_short_credits(uuid, numeric) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_short_credits(uuid, numeric) is
  'Raises PT402 if new items cost more credits than the user has available.';

-- refuse_overdrawn(p_user_id, p_generation_ids)
-- Refuse items that were just queued and whose holds exceed what the user had available.
-- Caller: batchgen.requeue_items, after the items were queued.
-- Errors: PT402; the caller's transaction ends with it, and so do the holds.
create function batchgen.refuse_overdrawn(p_user_id uuid, p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_held numeric;
  v_left numeric := batchgen.credits_available(p_user_id);
begin
  if v_left >= 0 then
    return;
  end if;
  select sum(h.amount) into v_held
  from batchgen.credit_ledger h join batchgen.queue q on q.generation_id = h.generation_id and q.is_held
  where h.generation_id = any (p_generation_ids) and h.user_id = p_user_id and h.entry = 'hold' and h.run = (
    select max(l.run) from batchgen.credit_ledger l where l.generation_id = h.generation_id
  );
  if v_held > 0 then
    perform batchgen.refuse_credits(v_held, v_left + v_held);
  end if;
end
$$;
revoke execute on function batchgen.refuse_overdrawn(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_overdrawn(uuid, uuid[]) is
  'Raises PT402 if the holds of items just queued exceed what the user had available.';
