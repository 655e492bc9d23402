-- before_item_inserted_by_app()
-- Check a single generation: the user's own, pending, with prompts of the length allowed in a batch, and without values
-- that only a run may write.
create function batchgen.before_item_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(new.user_id);
  if new.batch_id is not null or new.batch_index is not null then
    perform batchgen.refuse('not_writable', 'Items of a batch cannot be inserted one by one.', 'batch_id',
      'Submit the batch with create_batch.', null, null, 'PT403');
  end if;
  if new.status is distinct from 'pending' then
    perform batchgen.refuse('not_allowed', 'A new generation must be pending.', 'status',
      'Send pending, or leave it out.');
  end if;
  perform batchgen.check_prompt(new.prompt, 'prompt');
  perform batchgen.check_prompt(new.negative_prompt, 'negative_prompt');
  perform batchgen.refuse_changes(
    '{"retry_count": 0, "priority": 0}',
    jsonb_strip_nulls(jsonb_build_object(
      'retry_count', new.retry_count, 'priority', new.priority, 'error_message', new.error_message,
      'replicate_prediction_id', new.replicate_prediction_id, 'generation_time_seconds', new.generation_time_seconds,
      'completed_at', new.completed_at, 'error_code', new.error_code, 'started_at', new.started_at
    )),
    '{}'
  );
  -- The caller's clock does not count.
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_item_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_item_inserted_by_app() is
  'Trigger: limits which single generations a user may add.';

create trigger batchgen_app_insert before insert on public.image_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_inserted_by_app();

create function batchgen.before_item_bounded() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.check_text(new.model, 'model', 200);
  perform batchgen.check_text(new.style, 'style', 200);
  perform batchgen.check_text(new.source_image_url, 'source_image_url', 2048);
  if new.source_image_url ~* '^\s*[a-z][a-z0-9+.-]*:' and new.source_image_url !~* '^https?://[^\s]+$' then
    perform batchgen.refuse('not_allowed', 'source_image_url is not a web address.', 'source_image_url',
      'Send an https address.');
  end if;
  perform batchgen.check_range(new.generation_strength, 'generation_strength', 0, 100);
  return new;
end
$$;
revoke execute on function batchgen.before_item_bounded() from public, anon, authenticated, service_role;
comment on function batchgen.before_item_bounded() is 'Trigger: limits the values of a user''s single generation.';

create trigger batchgen_bounds before insert on public.image_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_bounded();

create function batchgen.after_items_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.take_from_limits(auth.uid(), (select count(*)::integer from new_rows));
  return null;
end
$$;
revoke execute on function batchgen.after_items_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_items_inserted_by_app() is
  'Trigger: counts single generations against their user''s limits.';

create trigger batchgen_rows after insert on public.image_generations
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');

create trigger batchgen_rows_counted after insert on public.image_generations
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_items_inserted_by_app();

-- asked_to_wait(p_old)
-- The row after a retry by the app, as from batchgen.requeue_items; null if it may not be retried. The limits are
-- checked once all rows of the statement are known.
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
revoke execute on function batchgen.asked_to_wait(public.image_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.asked_to_wait(public.image_generations) is 'The row of an item after a retry by the app.';

-- asked_to_fail(p_old)
-- The row after a cancel by the app; null if it stays. A running item is stopped and ended by its worker.
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
revoke execute on function batchgen.asked_to_fail(public.image_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.asked_to_fail(public.image_generations) is 'The row of an item after a cancel by the app.';

-- asked_to_fail_alone(p_old, p_message)
-- The row of a single generation that its app gives up, with the app's own message; null if it stays. An item left by a
-- deleted batch that still runs is ended by its worker.
create function batchgen.asked_to_fail_alone(
  p_old public.image_generations, p_message text
) returns public.image_generations
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
revoke execute on function batchgen.asked_to_fail_alone(public.image_generations, text)
from public, anon, authenticated, service_role;
comment on function batchgen.asked_to_fail_alone(public.image_generations, text) is
  'The row of a single generation that the app gives up.';

-- before_item_updated_by_app()
-- Turn an update by the app into one of two transitions: pending reruns a failed item, failed ends a waiting or running
-- one. Rows to which neither applies are skipped, since the app sends both for whole batches.
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
comment on function batchgen.before_item_updated_by_app() is
  'Trigger: lets a user cancel or retry an item, and change nothing else.';

create trigger batchgen_app_update before update on public.image_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_updated_by_app();

-- before_retries_are_queued()
-- Count retries by the app against limits and credits, as new items. The name makes it run before the queue is filled
-- (batchgen_after_update), so that the items already waiting are counted without these.
create function batchgen.before_retries_are_queued() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_items integer;
begin
  -- A hash join, as in after_generations_updated; a WHERE clause would make it a plain join again.
  select count(*) filter (where o.status = 'failed' and n.status = 'pending') into v_items from old_rows o
    full join new_rows n using (id);
  if v_items > 0 then
    perform batchgen.take_from_limits(auth.uid(), v_items);
    if (select s.credits from batchgen.settings s) then
      perform batchgen.refuse_short_credits(auth.uid(), (
        select sum(batchgen.price_of(n.user_id, n.model_id)) from new_rows n where n.status = 'pending'
      ));
    end if;
  end if;
  return null;
end
$$;
revoke execute on function batchgen.before_retries_are_queued() from public, anon, authenticated, service_role;
comment on function batchgen.before_retries_are_queued() is
  'Trigger: counts retries by the app against their user''s limits.';

create trigger batchgen_admit_retries after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_retries_are_queued();

-- after_items_cancelled_by_app()
-- Cancel the whole batch if the app cancelled all of its waiting items: running ones are cancelled, too.
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
comment on function batchgen.after_items_cancelled_by_app() is
  'Trigger: a cancel of all waiting items cancels the whole batch.';

create trigger batchgen_app_cancel after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_items_cancelled_by_app();

create trigger batchgen_app_delete before delete on public.image_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.refuse_app('Delete the picture or the batch.');
