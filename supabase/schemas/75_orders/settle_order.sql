-- settle_order(p_order_key, p_lease_id, p_outcome)
-- Record the provider's answer about an open order. p_outcome: {order: as batchgen.order_state, has_picture}.
--   not over: the provider is asked again, with growing pauses, for a day; then the outcome is unknown
--   over, with a picture, unless it is known to cost nothing: the item, if it failed, still has its batch and was not
--     edited, runs again only to fetch the picture (is_late)
--   the same, but the item crashed: a settlement in the ledger. That picture may have caused the crashes, so it is
--     fetched only if a person runs the item again within a day
--   over otherwise: a settlement in the ledger
-- Returns true if the item was queued. Ignores an order that is no longer leased.
-- Caller: service_role.
-- States: of the item: failed -> pending, to fetch its picture.
-- Locks: the item and its batch, then the order, as everywhere.
-- Errors: PT422 for an invalid p_outcome.
create function public.settle_order(p_order_key uuid, p_lease_id uuid, p_outcome jsonb) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_order batchgen.orders;
  v_state batchgen.order_state;
  v_generation public.image_generations;
  v_code text;
begin
  if jsonb_typeof(p_outcome) is distinct from 'object' then
    perform batchgen.refuse_argument('p_outcome', 'is not an object', 'Send {order, has_picture}.');
  end if;
  v_state := batchgen.read_order_state('p_outcome.order', p_outcome -> 'order');
  v_state.over := coalesce(v_state.over, false);
  select o.* into v_order from batchgen.orders o where o.key = p_order_key;
  perform batchgen.lock_items(array[v_order.generation_id]);
  select o.* into v_order from batchgen.orders o
  where o.key = p_order_key and o.lease_id = p_lease_id and o.ended_at is not null for update;
  if not found then
    return false;
  end if;
  if not v_state.over and v_order.ended_at > clock_timestamp() - interval '1 day' then
    update batchgen.orders o
    set asked = least(o.asked, 1000000) + 1, lease_id = null, lease_expires_at = null,
      ask_at = clock_timestamp() + make_interval(secs => least(3600, 5 * 2.0 ^ least(o.asked, 20)))
    where o.key = p_order_key;
    return false;
  end if;

  perform batchgen.note_order_state(p_order_key, v_state);
  select o.* into v_order from batchgen.orders o where o.key = p_order_key;
  select g.* into v_generation from public.image_generations g where g.id = v_order.generation_id;
  select coalesce((select f.code from batchgen.failures f where f.generation_id = v_generation.id), 'failed')
    into v_code;
  if v_state.over and v_order.is_charged is not false and p_outcome -> 'has_picture' = 'true'::jsonb
    and v_generation.status = 'failed' and v_generation.batch_id is not null and v_code = 'crashed'
    and not v_order.is_superseded
  then
    perform batchgen.note_settlement(v_order, coalesce(v_order.is_charged, true), 'settled');
    -- From here on it costs nothing more.
    update batchgen.orders o
    set is_settled = true, price_usd = 0, is_charged = false, lease_id = null, lease_expires_at = null,
      ask_at = clock_timestamp() + interval '1 day'
    where o.key = p_order_key;
    return false;
  elsif v_state.over and v_order.is_charged is not false and p_outcome -> 'has_picture' = 'true'::jsonb
    and v_generation.status = 'failed' and v_generation.batch_id is not null and not v_order.is_superseded
  then
    update batchgen.orders o
    set is_late = true, late_message = coalesce(v_generation.error_message, 'The picture could not be made.'),
      late_code = v_code
    where o.key = p_order_key;
    update public.image_generations g set status = 'pending', error_message = null, error_code = null,
      completed_at = null, retry_count = 0
    where g.id = v_generation.id;
    return true;
  end if;
  if v_order.is_charged is not null then
    perform batchgen.note_settlement(v_order, v_order.is_charged, 'settled');
  end if;
  delete from batchgen.orders o where o.key = p_order_key;
  return false;
end
$$;
revoke execute on function public.settle_order(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.settle_order(uuid, uuid, jsonb) to service_role;
comment on function public.settle_order(uuid, uuid, jsonb) is
  'For workers: records the outcome of an open order, and queues its item again to fetch a picture.';
