create function batchgen.is_own(p_user_id uuid) returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce(p_user_id = auth.uid(), false)
$$;
revoke execute on function batchgen.is_own(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.is_own(uuid) is 'True if a row belongs to the signed-in user.';

-- owner_of(p_user_id, p_batch_id)
-- The owner of an item: its user, else the user of its batch, else the zero UUID.
create function batchgen.owner_of(p_user_id uuid, p_batch_id uuid) returns uuid
language sql stable security definer set search_path = '' as $$
  select coalesce(
    p_user_id, (select b.user_id from public.batch_generations b where b.id = p_batch_id),
    '00000000-0000-0000-0000-000000000000'
  )
$$;
revoke execute on function batchgen.owner_of(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.owner_of(uuid, uuid) is
  'The owner of an item: its user, else the user of its batch, else the zero UUID.';

-- place_of(p_priority)
-- An item's priority in the queue: the item's own, limited to ±1,000,000,000; 0 if it has none.
create function batchgen.place_of(p_priority integer) returns integer
language sql immutable set search_path = '' as $$
  select least(greatest(coalesce(p_priority, 0), -1000000000), 1000000000)
$$;
revoke execute on function batchgen.place_of(integer) from public, anon, authenticated, service_role;
comment on function batchgen.place_of(integer) is 'An item''s priority in the queue, limited to ±1,000,000,000.';
