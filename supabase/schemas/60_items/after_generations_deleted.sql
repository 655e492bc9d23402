-- after_generations_deleted()
-- Of an item that ran on without its batch the user is repaired, too.
create function batchgen.after_generations_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  -- The queue rows go by their foreign key.
  insert into batchgen.touched (user_id)
  select distinct batchgen.owner_of(o.user_id, o.batch_id) from old_rows o
  where o.status = 'processing' or (o.batch_id is not null and o.status = 'pending');
  perform batchgen.refresh_batches(array(select distinct o.batch_id from old_rows o where o.batch_id is not null));
  return null;
end
$$;
revoke execute on function batchgen.after_generations_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_generations_deleted() is
  'Trigger: the queue and the totals follow an item that is deleted.';

create trigger batchgen_after_delete after delete on public.image_generations
referencing old table as old_rows for each statement execute function batchgen.after_generations_deleted();
