-- The app's direct writes to items and batches, with its users' own tokens: the few that it has always sent become proper
-- transitions, and everything else is refused or without effect. The rules stand in triggers, so that they hold whatever
-- policies and grants a project has; a new project gets policies and grants beside them that let those few through.
--
-- An app's caller is whoever row level security applies to, and anon and authenticated in any case. What runs with the
-- owner's rights (functions of ours, foreign keys), service_role and admins is not looked at by any of these triggers.
--
-- SQLSTATE PT403 (HTTP 403): not_yours, not_writable. SQLSTATE PT422: not_allowed, a value that such a row cannot have.

create function batchgen.is_own(p_user_id uuid) returns boolean
language sql stable security definer set search_path = '' as $$
  select coalesce(p_user_id = auth.uid(), false)
$$;
revoke execute on function batchgen.is_own(uuid) from public, anon, authenticated, service_role;

create function batchgen.refuse_strangers(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  if not batchgen.is_own(p_user_id) then
    perform batchgen.refuse('not_yours', 'This row is somebody else''s.', 'user_id', 'Write rows of your own.', null, null, 'PT403');
  end if;
end
$$;
revoke execute on function batchgen.refuse_strangers(uuid) from public, anon, authenticated, service_role;

create function batchgen.refuse_column(p_field text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('not_writable', format('%s is not set by hand.', p_field), p_field, 'Leave it as it is.', null, null, 'PT403');
end
$$;
revoke execute on function batchgen.refuse_column(text) from public, anon, authenticated, service_role;

-- batchgen.refuse_changes(p_old, p_new, p_except): refuses a changed column, all but those that are named.
create function batchgen.refuse_changes(p_old jsonb, p_new jsonb, p_except text[]) returns void
language plpgsql set search_path = '' as $$
declare
  v_field text;
begin
  select n.key into v_field from jsonb_each(p_new - p_except) n where n.value is distinct from p_old -> n.key order by n.key limit 1;
  if found then
    perform batchgen.refuse_column(v_field);
  end if;
end
$$;
revoke execute on function batchgen.refuse_changes(jsonb, jsonb, text[]) from public, anon, authenticated, service_role;

-- For whatever the app has no business doing at all.
create function batchgen.refuse_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', format('%s on %s is not for users.', tg_op, tg_table_name), null, tg_argv[0], null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.refuse_app() from public, anon, authenticated, service_role;

-- A single generation: the user's own, waiting, and with nothing in it that only a run may write.
create function batchgen.before_item_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(new.user_id);
  if new.batch_id is not null or new.batch_index is not null then
    perform batchgen.refuse('not_writable', 'Items of a batch are not inserted one by one.', 'batch_id', 'Submit the batch as a whole.',
      null, null, 'PT403');
  end if;
  if new.status is distinct from 'pending' then
    perform batchgen.refuse('not_allowed', 'A new generation is pending.', 'status', 'Send pending, or leave it out.');
  end if;
  perform batchgen.refuse_changes(
    '{"retry_count": 0, "priority": 0}',
    jsonb_strip_nulls(jsonb_build_object(
      'retry_count', new.retry_count, 'priority', new.priority, 'error_message', new.error_message,
      'replicate_prediction_id', new.replicate_prediction_id, 'generation_time_seconds', new.generation_time_seconds,
      'completed_at', new.completed_at
    )),
    '{}'
  );
  -- Whatever the caller's clock says.
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_item_inserted_by_app() from public, anon, authenticated, service_role;

-- batchgen.may_be_retried(p_generation): whether a failed item may be run again for its user.
create function batchgen.may_be_retried(p_generation public.image_generations) returns boolean
language sql stable security definer set search_path = '' as $$
  select p_generation.status = 'failed' and p_generation.batch_id is not null and not exists (
    select from batchgen.failures f where f.generation_id = p_generation.id and batchgen.is_never_retried(f.code)
  )
$$;
revoke execute on function batchgen.may_be_retried(public.image_generations) from public, anon, authenticated, service_role;

-- An update by the app asks for one of two things: pending, to run a failed item again, or failed, to end one that waits
-- or runs. What cannot follow is left as it is (the row is skipped), since the app sends both for whole batches.
create function batchgen.before_item_updated_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  perform batchgen.refuse_changes(to_jsonb(old), to_jsonb(new), '{status,error_message,retry_count,completed_at}');
  if new.status = 'pending' then
    return batchgen.asked_to_wait(old);
  elsif new.status = 'failed' and old.batch_id is null then
    return batchgen.asked_to_fail_alone(old, new.error_message);
  elsif new.status = 'failed' then
    return batchgen.asked_to_fail(old);
  elsif new.status is distinct from old.status then
    perform batchgen.refuse_column('status');
  end if;
  perform batchgen.refuse_changes(to_jsonb(old), to_jsonb(new), '{}');
  return null;
end
$$;
revoke execute on function batchgen.before_item_updated_by_app() from public, anon, authenticated, service_role;

-- A retry. The same as in batchgen.requeue_items; the limits are asked when all rows of the statement are known.
create function batchgen.asked_to_wait(p_old public.image_generations) returns public.image_generations
language plpgsql security definer set search_path = '' as $$
begin
  if not batchgen.may_be_retried(p_old) then
    return null;
  end if;
  p_old.status := 'pending';
  p_old.error_message := null;
  p_old.error_code := null;
  p_old.retry_count := 0;
  p_old.completed_at := null;
  return p_old;
end
$$;
revoke execute on function batchgen.asked_to_wait(public.image_generations) from public, anon, authenticated, service_role;

-- A cancel of an item. One that runs is stopped by its worker, which then ends it.
create function batchgen.asked_to_fail(p_old public.image_generations) returns public.image_generations
language plpgsql security definer set search_path = '' as $$
begin
  if p_old.status = 'processing' then
    update batchgen.queue q set cancel_requested = true where q.generation_id = p_old.id and q.state = 'running';
    return null;
  elsif p_old.status is distinct from 'pending' then
    return null;
  end if;
  p_old.status := 'failed';
  p_old.error_message := 'Cancelled by user';
  p_old.error_code := 'cancelled';
  p_old.completed_at := clock_timestamp();
  return p_old;
end
$$;
revoke execute on function batchgen.asked_to_fail(public.image_generations) from public, anon, authenticated, service_role;

-- A single generation that its app gave up, with the app's own message. One that is left of a deleted batch and still
-- runs is its worker's to end.
create function batchgen.asked_to_fail_alone(p_old public.image_generations, p_message text) returns public.image_generations
language plpgsql security definer set search_path = '' as $$
begin
  if p_old.status = 'completed' or exists (select from batchgen.queue q where q.generation_id = p_old.id) then
    return null;
  end if;
  p_old.status := 'failed';
  p_old.error_message := left(p_message, 2000);
  p_old.completed_at := coalesce(p_old.completed_at, clock_timestamp());
  return p_old;
end
$$;
revoke execute on function batchgen.asked_to_fail_alone(public.image_generations, text) from public, anon, authenticated, service_role;

-- The limits hold for what a statement of the app retries as for new items. Named so that it runs before the queue is
-- filled (batchgen_after_update): what waits already is counted without these.
create function batchgen.before_retries_are_queued() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_items integer;
begin
  -- By hashing, as in after_generations_updated; a condition behind it would make it a plain join again.
  select count(*) filter (where o.status = 'failed' and n.status = 'pending') into v_items from old_rows o full join new_rows n using (id);
  if v_items > 0 then
    perform batchgen.take_from_limits(auth.uid(), v_items);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.before_retries_are_queued() from public, anon, authenticated, service_role;

-- A cancel that leaves nothing waiting was meant for the whole batch: what runs is cancelled with it.
create function batchgen.after_items_cancelled_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[];
  v_batch_ids uuid[];
begin
  select array_agg(n.id) filter (where f.is_cancelled), array_agg(distinct n.batch_id) filter (where f.is_cancelled)
  into v_ids, v_batch_ids
  from old_rows o full join new_rows n using (id)
  cross join lateral (select n.batch_id is not null and o.status = 'pending' and n.status = 'failed' as is_cancelled) f;
  if v_ids is null then
    return null;
  end if;
  perform batchgen.note_failures(v_ids, 'cancelled');
  perform batchgen.cancel_items(array(
    select b.id from unnest(v_batch_ids) b (id)
    where not exists (select from public.image_generations g where g.batch_id = b.id and g.status = 'pending')
  ));
  return null;
end
$$;
revoke execute on function batchgen.after_items_cancelled_by_app() from public, anon, authenticated, service_role;

create trigger batchgen_app_insert before insert on public.image_generations
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_inserted_by_app();
create trigger batchgen_app_update before update on public.image_generations
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_updated_by_app();
create trigger batchgen_admit_retries after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_retries_are_queued();
create trigger batchgen_app_cancel after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_items_cancelled_by_app();
create trigger batchgen_app_delete before delete on public.image_generations
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.refuse_app('Delete the picture or the batch.');

-- The update that the app sends after a retry or a cancel. Totals, status and time stay what the rows say
-- (batchgen_before_update, which runs next); failed asks for the end of what still waits or runs. Since the row cannot
-- say so afterwards, the marks in the queue do, until the statement ends.
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

create function batchgen.after_batches_updated_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.end_cancelled(array(select n.id from new_rows n));
  return null;
end
$$;
revoke execute on function batchgen.after_batches_updated_by_app() from public, anon, authenticated, service_role;

create function batchgen.before_batch_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  return old;
end
$$;
revoke execute on function batchgen.before_batch_deleted_by_app() from public, anon, authenticated, service_role;

create trigger batchgen_app_insert before insert on public.batch_generations
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.refuse_app('Submit the batch with create_batch.');
create trigger batchgen_app_update before update on public.batch_generations
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.before_batch_updated_by_app();
create trigger batchgen_app_updated after update on public.batch_generations
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.after_batches_updated_by_app();
create trigger batchgen_app_delete before delete on public.batch_generations
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.before_batch_deleted_by_app();

-- Verbs and policies for exactly these writes. A table with policies of the app's own keeps them as they are; where they
-- say nothing about a verb that the app needs on batch_generations, ours is added.
grant update (status, failed_count, completed_at), delete on public.batch_generations to authenticated;

do $$
begin
  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'batch_generations' and cmd in ('UPDATE', 'ALL')) then
    create policy "Owners update their batches" on public.batch_generations
      for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
  end if;
  if not exists (select from pg_policies where schemaname = 'public' and tablename = 'batch_generations' and cmd in ('DELETE', 'ALL')) then
    create policy "Owners delete their batches" on public.batch_generations
      for delete to authenticated using (user_id = (select auth.uid()));
  end if;

  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.image_generations') then
    grant insert (
      user_id, prompt, negative_prompt, model, model_id, style, width, height, steps, guidance_scale, seed, status,
      source_image_url, generation_strength
    ), update (status, error_message, retry_count, completed_at) on public.image_generations to authenticated;
    create policy "Owners insert single generations" on public.image_generations
      for insert to authenticated with check (user_id = (select auth.uid()) and batch_id is null and status = 'pending');
    create policy "Owners update their generations" on public.image_generations
      for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
  end if;
end
$$;
