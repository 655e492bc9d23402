-- end_as_failed(p_generation_ids, p_code, p_message)
-- The one way to failed for the worker's functions and triggers. The caller holds the generations' row locks.
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
comment on function batchgen.end_as_failed(uuid[], text, text) is
  'The one way in which items fail: code, message and time.';

create function batchgen.note_failures(p_generation_ids uuid[], p_code text) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.failures (generation_id, code)
  select id, p_code from unnest(p_generation_ids) as id
  on conflict (generation_id) do update set code = excluded.code, failed_at = now()
$$;
revoke execute on function batchgen.note_failures(uuid[], text) from public, anon, authenticated, service_role;
comment on function batchgen.note_failures(uuid[], text) is 'Notes why items failed.';

-- is_never_retried(p_code)
-- An item that failed with such a code is not run again for its user.
create function batchgen.is_never_retried(p_code text) returns boolean
language sql immutable set search_path = '' as $$
  -- outcome_unknown: the picture may be bought already; an admin looks, and sets the item to pending or leaves it.
  select p_code in ('cancelled', 'blocked_by_policy', 'outcome_unknown')
$$;
revoke execute on function batchgen.is_never_retried(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_never_retried(text) is
  'Whether an item that failed for this reason is not run again for its user.';

-- before_item_status_updated()
-- An item of a batch that somebody fails by hand says so in error_code; one that has not failed has none.
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
  'Trigger: an item that is failed by hand has an error_code, and no other one.';

-- What the worker's functions write says so itself, and costs no call of this.
create trigger batchgen_error_code before update of status on public.image_generations
for each row when (new.batch_id is not null and (new.status = 'failed') is distinct from (new.error_code is not null))
execute function batchgen.before_item_status_updated();
