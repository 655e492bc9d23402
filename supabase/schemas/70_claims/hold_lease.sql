-- hold_lease(p_generation_id, p_lease_id)
-- Lock the item and return its queue row.
-- Errors: PT409 if the lease is no longer held: another lease was minted, the item has ended, or the lease has expired,
-- even if no worker has taken over the item yet.
create function batchgen.hold_lease(p_generation_id uuid, p_lease_id uuid) returns batchgen.queue
language plpgsql security definer set search_path = '' as $$
declare
  v_item batchgen.queue;
begin
  perform batchgen.lock_items(array[p_generation_id]);
  select q.* into v_item from batchgen.queue q
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id
    and q.lease_expires_at > clock_timestamp() for update;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  return v_item;
end
$$;
revoke execute on function batchgen.hold_lease(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.hold_lease(uuid, uuid) is 'Locks a leased item, or raises PT409.';
