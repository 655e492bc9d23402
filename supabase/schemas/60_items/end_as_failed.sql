-- end_as_failed(p_generation_ids, p_code, p_message)
-- Mark items as failed; all worker functions and triggers do so through this. The caller holds the items' row locks.
create function batchgen.end_as_failed(p_generation_ids uuid[], p_code text, p_message text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.failures (generation_id, code)
  select id, left(p_code, 100) from unnest(p_generation_ids) as id
  on conflict (generation_id) do update set code = excluded.code, failed_at = now();
  update public.image_generations g
  set status = 'failed', error_message = left(p_message, 2000), error_code = left(p_code, 100),
    completed_at = clock_timestamp()
  where g.id = any (p_generation_ids);
end
$$;
revoke execute on function batchgen.end_as_failed(uuid[], text, text) from public, anon, authenticated, service_role;
comment on function batchgen.end_as_failed(uuid[], text, text) is 'Marks items as failed, with code, message and time.';

create function batchgen.note_failures(p_generation_ids uuid[], p_code text) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.failures (generation_id, code)
  select id, p_code from unnest(p_generation_ids) as id
  on conflict (generation_id) do update set code = excluded.code, failed_at = now()
$$;
revoke execute on function batchgen.note_failures(uuid[], text) from public, anon, authenticated, service_role;
comment on function batchgen.note_failures(uuid[], text) is 'Records why items failed.';

-- is_never_retried(p_code)
-- True if retry_failed does not run an item with this error code again.
create function batchgen.is_never_retried(p_code text) returns boolean
language sql immutable set search_path = '' as $$
  -- outcome_unknown: the picture may have been paid for; an admin checks, and sets the item to pending or leaves it.
  select p_code in ('cancelled', 'blocked_by_policy', 'outcome_unknown')
$$;
revoke execute on function batchgen.is_never_retried(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_never_retried(text) is
  'True if retry_failed does not run an item with this error code again.';

-- before_item_status_updated()
-- Set error_code for an item that is failed by hand, and clear it for one that has not failed.
create function batchgen.before_item_status_updated() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.error_code := case
    when new.status = 'failed' and new.error_message = 'Cancelled by user' then 'cancelled'
    when new.status = 'failed' then 'failed'
  end;
  return new;
end
$$;
revoke execute on function batchgen.before_item_status_updated() from public, anon, authenticated, service_role;
comment on function batchgen.before_item_status_updated() is
  'Trigger: keeps error_code in step with a status set by hand.';

-- The worker's functions set error_code themselves and skip this trigger.
create trigger batchgen_error_code before update of status on public.image_generations
for each row when (new.batch_id is not null and (new.status = 'failed') is distinct from (new.error_code is not null))
execute function batchgen.before_item_status_updated();
