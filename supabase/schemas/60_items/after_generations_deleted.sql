-- after_generations_deleted()
-- Keep queue and totals in step with deleted items. The user of an item that outlived its batch is repaired, too.
create function batchgen.after_generations_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- The queue rows are deleted by their foreign key.
  insert into batchgen.touched (user_id)
  select distinct batchgen.owner_of(o.user_id, o.batch_id) from old_rows o
  where o.status = 'processing' or (o.batch_id is not null and o.status = 'pending');
  perform batchgen.refresh_batches(array(select distinct o.batch_id from old_rows o where o.batch_id is not null));
  return null;
end
$$;
revoke execute on function batchgen.after_generations_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_generations_deleted() is
  'Trigger: keeps the queue and the totals in step with deleted items.';

create trigger batchgen_after_delete after delete on public.image_generations
referencing old table as old_rows for each statement execute function batchgen.after_generations_deleted();
