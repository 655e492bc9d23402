create trigger batchgen_app_insert before insert on public.batch_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.refuse_app('Submit the batch with create_batch.');

-- before_batch_updated_by_app()
-- Handle the update that the app sends after a retry or a cancel. Totals, status and time stay as computed from the
-- items (batchgen_before_update, which runs next). Status failed requests a cancel of all waiting and running items.
-- The row cannot carry that request, so the marks in the queue do until the statement ends.
create function batchgen.before_batch_updated_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  perform batchgen.refuse_changes(to_jsonb(old), to_jsonb(new), '{status,failed_count,completed_at}');
  if new.status = 'failed' then
    perform batchgen.request_cancel(array[old.id]);
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_batch_updated_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_batch_updated_by_app() is 'Trigger: limits what a user may change in a batch.';

create trigger batchgen_app_update before update on public.batch_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.before_batch_updated_by_app();

create function batchgen.after_batches_updated_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.end_cancelled(array(select n.id from new_rows n));
  return null;
end
$$;
revoke execute on function batchgen.after_batches_updated_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_batches_updated_by_app() is
  'Trigger: ends the items of a batch that the app set to failed.';

create trigger batchgen_app_updated after update on public.batch_generations
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.after_batches_updated_by_app();

create function batchgen.before_batch_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  return old;
end
$$;
revoke execute on function batchgen.before_batch_deleted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_batch_deleted_by_app() is 'Trigger: limits which batches a user may delete.';

create trigger batchgen_app_delete before delete on public.batch_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.before_batch_deleted_by_app();
