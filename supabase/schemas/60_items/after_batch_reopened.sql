-- after_batch_reopened()
-- Record that an ended batch runs again, and take it out of the trash.
create function batchgen.after_batch_reopened() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.reopened_batches (batch_id) values (new.id)
  on conflict (batch_id) do update set reopened_at = excluded.reopened_at;
  delete from batchgen.trashed_batches t where t.batch_id = new.id;
  return null;
end
$$;
revoke execute on function batchgen.after_batch_reopened() from public, anon, authenticated, service_role;
comment on function batchgen.after_batch_reopened() is
  'Trigger: records that an ended batch runs again, and takes it out of the trash.';

create trigger batchgen_reopened after update of status on public.batch_generations
for each row when (old.status in ('completed', 'partial', 'failed') and new.status in ('pending', 'processing'))
execute function batchgen.after_batch_reopened();
