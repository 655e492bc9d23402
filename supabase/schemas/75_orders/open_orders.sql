-- leave_orders(p_keys)
-- Leave orders open: their items no longer wait for them, and a sweep asks for their outcome.
create function batchgen.leave_orders(p_keys uuid[]) returns void
language sql security definer set search_path = '' as $$
  update batchgen.orders o set ended_at = clock_timestamp(), ask_at = clock_timestamp() + interval '2 seconds',
    asked = 0
  where o.key = any (p_keys)
$$;
revoke execute on function batchgen.leave_orders(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.leave_orders(uuid[]) is 'Leaves orders open, for a sweep to ask about.';

-- close_orders(p_items)
-- Close the orders of items that have left the queue or whose order is over. An order that is over is in the ledger and
-- deleted here; the others are left open, for a sweep to ask the provider.
-- Caller: the queue's triggers, after the ledger.
create function batchgen.close_orders(p_items batchgen.queue[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_over batchgen.orders[];
  v_waited uuid[] := array(select i.order_key from unnest(p_items) i where i.lease_id is null);
begin
  with over as (
    delete from batchgen.orders o
    using unnest(p_items) i
    where o.key = i.order_key
      -- An order that ran again to fetch its picture is over now, with or without the picture. An accepted result has
      -- reported its cost; an item that somebody else set to completed says nothing about its job.
      and (i.order_over or o.is_late or (
        o.is_charged is not null and exists (
          select from public.image_generations g where g.id = i.generation_id and g.status = 'completed'
        )
      ))
    returning o.key, (o.*)::batchgen.orders as whole
  )
  -- An item that only waited has no attempt that ends here and could report the cost.
  select array_agg(x.whole) filter (where x.key = any (v_waited) and (x.whole).is_charged is not null) into v_over
    from over x;
  if v_over is not null then
    perform batchgen.note_settlement(v, v.is_charged, 'settled') from unnest(v_over) v;
  end if;
  perform batchgen.leave_orders(array(select i.order_key from unnest(p_items) i));
end
$$;
revoke execute on function batchgen.close_orders(batchgen.queue[]) from public, anon, authenticated, service_role;
comment on function batchgen.close_orders(batchgen.queue[]) is
  'Closes the orders of items that have left the queue or whose order is over.';
