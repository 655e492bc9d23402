-- A worker's knowledge of an order, as JSON {over, charged, queued_seconds, running_seconds}; null: unknown.
-- over: the order yields nothing more, so the next attempt orders again.
create type batchgen.order_state as (
  over boolean, charged boolean, queued_seconds double precision, running_seconds double precision
);
comment on type batchgen.order_state is
  'A worker''s knowledge of an order: whether it is over and charged, and how long its job took.';

-- read_order_state(p_argument, p_state)
-- The state of an order as sent by a worker. p_argument: its name in errors. A missing key means unknown.
-- Caller: fail_generation, settle_order, note_charges.
-- Errors: PT422 for an invalid state.
create function batchgen.read_order_state(p_argument text, p_state jsonb) returns batchgen.order_state
language plpgsql set search_path = '' as $$
declare
  v_wrong text;
begin
  if coalesce(jsonb_typeof(p_state), 'null') not in ('object', 'null') then
    perform batchgen.refuse_argument(p_argument, 'is not an object',
      'Send {over, charged, queued_seconds, running_seconds}.');
  end if;
  select k.name into v_wrong
  from (values ('over', 'boolean'), ('charged', 'boolean'), ('queued_seconds', 'number'), ('running_seconds', 'number'))
    k (name, type)
  where coalesce(jsonb_typeof(p_state -> k.name), 'null') not in (k.type, 'null') limit 1;
  if found then
    perform batchgen.refuse_argument(format('%s.%s', p_argument, v_wrong), 'has the wrong type',
      'Send over and charged as true or false, seconds as numbers, or leave out unknown ones.');
  end if;
  return (
    (p_state ->> 'over')::boolean, (p_state ->> 'charged')::boolean,
    batchgen.read_seconds(p_state -> 'queued_seconds'), batchgen.read_seconds(p_state -> 'running_seconds')
  )::batchgen.order_state;
end
$$;
revoke execute on function batchgen.read_order_state(text, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_order_state(text, jsonb) is 'The state of an order as sent by a worker, checked.';

-- read_seconds(p_number)
-- A JSON number as seconds, from 0 to one year; null for anything else. Rounded: a number too close to zero for double
-- precision would raise an error.
create function batchgen.read_seconds(p_number jsonb) returns double precision
language sql immutable set search_path = '' as $$
  select case when jsonb_typeof(p_number) = 'number' then
    round(least(greatest(p_number::numeric, 0), 31536000), 6)::double precision
  end
$$;
revoke execute on function batchgen.read_seconds(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_seconds(jsonb) is 'A JSON number as seconds.';

-- note_order_state(p_order_key, p_state)
-- Record a worker's knowledge of an order; unknown values stay. Only an order that is over is known to cost nothing; if
-- the price is 0, the order is not charged.
create function batchgen.note_order_state(p_order_key uuid, p_state batchgen.order_state) returns void
language sql security definer set search_path = '' as $$
  update batchgen.orders o
  set is_charged = case
      when o.price_usd = 0 then false
      when p_state.over or p_state.charged then coalesce(p_state.charged, o.is_charged)
      else o.is_charged
    end,
    queued_seconds = coalesce(p_state.queued_seconds, o.queued_seconds),
    running_seconds = coalesce(p_state.running_seconds, o.running_seconds)
  where o.key = p_order_key
$$;
revoke execute on function batchgen.note_order_state(uuid, batchgen.order_state)
from public, anon, authenticated, service_role;
comment on function batchgen.note_order_state(uuid, batchgen.order_state) is
  'Records a worker''s knowledge of an order.';
