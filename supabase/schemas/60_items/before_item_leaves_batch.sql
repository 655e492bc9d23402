-- before_item_leaves_batch()
-- End a waiting item in the same update in which its deleted batch releases it (the foreign key's SET NULL).
create function batchgen.before_item_leaves_batch() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from public.batch_generations b where b.id = old.batch_id) then
    new.status := 'failed';
    new.error_message := 'The batch was deleted.';
    new.error_code := 'cancelled';
    new.completed_at := clock_timestamp();
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_item_leaves_batch() from public, anon, authenticated, service_role;
comment on function batchgen.before_item_leaves_batch() is 'Trigger: ends a waiting item when its batch is deleted.';

create trigger batchgen_before_leaving before update of batch_id on public.image_generations
for each row when (old.batch_id is not null and new.batch_id is null and new.status = 'pending')
execute function batchgen.before_item_leaves_batch();
