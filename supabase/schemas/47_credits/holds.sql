-- Holds: credits reserved for items under way. queue.is_held marks the items that have one, so that every end of an
-- item, by whomever, closes its hold in the trigger that sees its queue row go; while credits are off no row is marked,
-- and that costs nothing. An item without a mark runs free to its end, and one with a mark is captured or released,
-- whatever settings.credits says by then.

-- hold_credits(p_generation_ids)
-- Hold the price of items that have just entered the queue, at their owner's price of the moment. An item that runs
-- again only to fetch its picture (orders.is_late) continues its last run, at that run's price. Free items and items
-- without an owner get no hold.
-- Caller: after_generations_inserted and batchgen.enter_queue, if settings.credits is on.
create function batchgen.hold_credits(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  with held as (
    insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run, batch_id, model_id)
    select q.user_id, 'hold', p.price, q.generation_id, coalesce(l.run, 0) + 1, g.batch_id, g.model_id
    from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    left join batchgen.orders o on o.key = q.order_key
    left join lateral (
      select h.run, h.amount from batchgen.credit_ledger h
      where h.generation_id = q.generation_id and h.entry = 'hold' order by h.run desc limit 1
    ) l on true
    cross join lateral (
      select case when o.is_late then l.amount else batchgen.price_of(q.user_id, g.model_id) end as price
    ) p
    where q.generation_id = any (p_generation_ids) and not q.is_held and p.price > 0
      and q.user_id <> '00000000-0000-0000-0000-000000000000'
    returning generation_id
  )
  update batchgen.queue q set is_held = true from held h where q.generation_id = h.generation_id;
  perform batchgen.keep_checkpoint(u.user_id)
  from (
    select distinct q.user_id from batchgen.queue q where q.generation_id = any (p_generation_ids) and q.is_held
  ) u;
end
$$;
revoke execute on function batchgen.hold_credits(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.hold_credits(uuid[]) is 'Holds the price of items that have just entered the queue.';

-- close_holds(p_generation_ids)
-- Close the holds of items that have left the queue: captured if the item is completed and has its picture, released
-- otherwise.
-- Caller: after_queue_deleted.
create function batchgen.close_holds(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run, batch_id, model_id)
  select h.user_id,
    case
      when g.status = 'completed' and exists (select from public.images i where i.generation_id = g.id) then 'capture'
      else 'release'
    end,
    h.amount, h.generation_id, h.run, h.batch_id, h.model_id
  from batchgen.credit_ledger h left join public.image_generations g on g.id = h.generation_id
  where h.generation_id = any (p_generation_ids) and h.entry = 'hold' and not exists (
    select from batchgen.credit_ledger c
    where c.generation_id = h.generation_id and c.run = h.run and c.entry in ('capture', 'release')
  );
end
$$;
revoke execute on function batchgen.close_holds(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.close_holds(uuid[]) is 'Captures or releases the holds of items that have left the queue.';

create function batchgen.before_credits_changed() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT422', message = 'The credit ledger is append-only: no row is changed or deleted.',
    hint = 'Use note_credit_adjustment to correct a balance.';
end
$$;
revoke execute on function batchgen.before_credits_changed() from public, anon, authenticated, service_role;
comment on function batchgen.before_credits_changed() is 'Trigger: keeps the credit ledger append-only.';

create trigger before_credits_changed before update or delete or truncate on batchgen.credit_ledger
for each statement execute function batchgen.before_credits_changed();
