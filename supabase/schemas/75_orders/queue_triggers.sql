-- before_queue_inserted()
-- Give a returning item its open order: it resumes that job first instead of ordering again.
create function batchgen.before_queue_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update batchgen.orders o set ended_at = null, ask_at = null, lease_id = null, lease_expires_at = null
  where o.key = (
    select e.key from batchgen.orders e
    where e.generation_id = new.generation_id and e.ended_at is not null and not e.is_superseded
      -- If the item is in the queue already, this row will not be inserted.
      and not exists (select from batchgen.queue q where q.generation_id = new.generation_id)
    order by e.ordered_at desc limit 1
  )
  returning o.key, case when o.provider_job_id is not null then o.provider end, o.provider_job_id
  into new.order_key, new.provider, new.provider_job_id;
  return new;
end
$$;
revoke execute on function batchgen.before_queue_inserted() from public, anon, authenticated, service_role;
comment on function batchgen.before_queue_inserted() is 'Trigger: gives a returning item its open order.';

create trigger before_queue_inserted before insert on batchgen.queue
for each row execute function batchgen.before_queue_inserted();

create function batchgen.after_lease_ended() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.note_attempts(array[old],
    case when new.crash_count > old.crash_count then 'crashed' else 'handed_back' end);
  if old.order_over and old.order_key is not null then
    perform batchgen.close_orders(array[old]);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_lease_ended() from public, anon, authenticated, service_role;
comment on function batchgen.after_lease_ended() is
  'Trigger: writes the ledger''s row for an attempt whose item waits again.';

create trigger after_lease_ended after update on batchgen.queue
for each row when (old.lease_id is not null and new.lease_id is distinct from old.lease_id)
execute function batchgen.after_lease_ended();

create function batchgen.after_queue_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_leased batchgen.queue[];
  v_ordered batchgen.queue[];
  v_held uuid[];
begin
  select array_agg((o.*)::batchgen.queue) filter (where o.lease_id is not null),
    array_agg((o.*)::batchgen.queue) filter (where o.order_key is not null),
    array_agg(o.generation_id) filter (where o.is_held)
  into v_leased, v_ordered, v_held from old_rows o;
  if v_leased is not null then
    perform batchgen.note_attempts(v_leased, null);
  end if;
  if v_ordered is not null then
    perform batchgen.close_orders(v_ordered);
  end if;
  if v_held is not null then
    perform batchgen.close_holds(v_held);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_queue_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_queue_deleted() is
  'Trigger: writes the ledger''s rows for ended items, and closes their orders and holds.';

create trigger after_queue_deleted after delete on batchgen.queue
referencing old table as old_rows for each statement execute function batchgen.after_queue_deleted();
