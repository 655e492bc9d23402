-- The app's direct writes to items and batches, with its users' own tokens: the few that it has always sent become
-- valid transitions; all others are refused or have no effect. Triggers enforce the rules, whatever policies and grants
-- a project has; a new project also gets policies and grants that let those few writes through.
--
-- The triggers apply to every caller under row level security, and to anon and authenticated in any case. They ignore
-- statements with the owner's rights (batchgen's functions, foreign keys), service_role and admins.
--
-- SQLSTATE PT403 (HTTP 403): not_yours, not_writable. SQLSTATE PT422: not_allowed, too_long, out_of_range: values that
-- such a row cannot have. PT429: too_many_rows, too_many_tags, too_many_templates, too_many_pictures, and the limits of
-- a user.

create function batchgen.refuse_strangers(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  if not batchgen.is_own(p_user_id) then
    perform batchgen.refuse('not_yours', 'This row belongs to another user.', 'user_id', 'Write only your own rows.',
      null, null, 'PT403');
  end if;
end
$$;
revoke execute on function batchgen.refuse_strangers(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_strangers(uuid) is 'Refuses a row of another user.';

create function batchgen.refuse_column(p_field text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('not_writable', format('%s cannot be set directly.', p_field), p_field, 'Leave it as it is.',
    null, null, 'PT403');
end
$$;
revoke execute on function batchgen.refuse_column(text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_column(text) is 'Refuses a change of a column.';

-- refuse_changes(p_old, p_new, p_except)
-- Refuse a change of any column that p_except does not name.
create function batchgen.refuse_changes(p_old jsonb, p_new jsonb, p_except text[]) returns void
language plpgsql set search_path = '' as $$
declare
  v_field text;
begin
  select n.key into v_field from jsonb_each(p_new - p_except) n where n.value is distinct from p_old -> n.key
    order by n.key limit 1;
  if found then
    perform batchgen.refuse_column(v_field);
  end if;
end
$$;
revoke execute on function batchgen.refuse_changes(jsonb, jsonb, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_changes(jsonb, jsonb, text[]) is
  'Refuses changes of all columns except those named.';

-- refuse_app()
-- Refuse a statement that the app may never send. The trigger's argument is the remedy.
create function batchgen.refuse_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', format('%s on %s is not allowed.', tg_op, tg_table_name), null, tg_argv[0],
    null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.refuse_app() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_app() is 'Trigger: refuses a statement that the app may never send.';

-- after_rows_inserted_by_app()
-- Limit the rows of one INSERT to the trigger's argument.
create function batchgen.after_rows_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if (select count(*) from new_rows) > tg_argv[0]::integer then
    perform batchgen.refuse_rows('too_many_rows', tg_table_name, 'rows per request', tg_argv[0]::integer,
      'Send fewer at once.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_rows_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_rows_inserted_by_app() is 'Trigger: limits the rows that a user inserts at once.';

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

create function batchgen.before_batch_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  return old;
end
$$;
revoke execute on function batchgen.before_batch_deleted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_batch_deleted_by_app() is 'Trigger: limits which batches a user may delete.';

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

create function batchgen.before_image_tag_written_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_image_id uuid := case when tg_op = 'DELETE' then old.image_id else new.image_id end;
begin
  if not exists (select from public.images i where i.id = v_image_id and batchgen.is_own(i.user_id)) then
    perform batchgen.refuse('not_yours', 'This picture belongs to another user.', 'image_id',
      'Tag only your own pictures.', null, null, 'PT403');
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end
$$;
revoke execute on function batchgen.before_image_tag_written_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_tag_written_by_app() is
  'Trigger: limits which pictures a user may tag or untag.';

create function batchgen.before_image_tag_counted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.image_tags x where x.image_id = new.image_id offset 49) then
    perform batchgen.refuse_rows('too_many_tags', 'image_tags', 'tags per picture', 50, 'Remove one first.');
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_tag_counted() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_tag_counted() is 'Trigger: limits the number of tags on a picture.';

-- The app's direct writes to pictures: owners write theirs freely, but no row may refer to another user's file or item.

-- refuse_foreign_source(p_image_id)
-- Refuse a source picture that is neither the user's own nor public, without telling whether it exists.
create function batchgen.refuse_foreign_source(p_image_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_image_id is not null and not exists (
    select from public.images i where i.id = p_image_id and (batchgen.is_own(i.user_id) or i.is_public)
  ) then
    perform batchgen.refuse('not_yours', 'source_image_id is neither your own picture nor a public one.',
      'source_image_id', 'Use your own picture or a public one, or leave it out.', null, null, 'PT403');
  end if;
end
$$;
revoke execute on function batchgen.refuse_foreign_source(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_foreign_source(uuid) is 'Refuses a source picture that the user may not see.';

create function batchgen.before_image_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(new.user_id);
  if not batchgen.is_in_folder(new.user_id, new.storage_path) then
    perform batchgen.refuse('not_yours', 'storage_path is outside your own folder.', 'storage_path',
      'Use {user_id}/{generation_id}.{format}.', null, null, 'PT403');
  end if;
  -- Only the worker records the pictures of a batch.
  if new.generation_id is not null and not exists (
    select from public.image_generations g where g.id = new.generation_id and batchgen.is_own(g.user_id)
      and g.batch_index is null
  ) then
    perform batchgen.refuse('not_yours', 'generation_id is not one of your single generations.', 'generation_id',
      'Use one of your own, or leave it out.', null, null, 'PT403');
  end if;
  perform batchgen.refuse_foreign_source(new.source_image_id);
  if new.thumbnail_path is not null then
    perform batchgen.refuse_column('thumbnail_path');
  end if;
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_image_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_inserted_by_app() is 'Trigger: limits which pictures a user may add.';

-- before_image_updated_by_app()
-- Allow changes of all columns but the row's owner, item, files and creation time.
create function batchgen.before_image_updated_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  perform batchgen.refuse_changes(
    jsonb_build_object('id', old.id, 'user_id', old.user_id, 'generation_id', old.generation_id,
      'storage_path', old.storage_path, 'thumbnail_path', old.thumbnail_path, 'created_at', old.created_at),
    jsonb_build_object('id', new.id, 'user_id', new.user_id, 'generation_id', new.generation_id,
      'storage_path', new.storage_path, 'thumbnail_path', new.thumbnail_path, 'created_at', new.created_at),
    '{}'
  );
  if new.source_image_id is distinct from old.source_image_id then
    perform batchgen.refuse_foreign_source(new.source_image_id);
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_updated_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_updated_by_app() is
  'Trigger: limits what a user may change in a picture''s row.';

create function batchgen.before_image_bounded() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.check_text(new.filename, 'filename', 255);
  perform batchgen.check_prompt(new.prompt, 'prompt');
  perform batchgen.check_prompt(new.negative_prompt, 'negative_prompt');
  perform batchgen.check_text(new.model, 'model', 200);
  perform batchgen.check_text(new.model_version, 'model_version', 200);
  perform batchgen.check_text(new.style, 'style', 200);
  perform batchgen.check_text(new.format, 'format', 20);
  perform batchgen.check_text(new.blurhash, 'blurhash', 200);
  perform batchgen.check_range(new.width, 'width', 1, 100000);
  perform batchgen.check_range(new.height, 'height', 1, 100000);
  perform batchgen.check_range(new.file_size, 'file_size', 0, 52428800);
  perform batchgen.check_range(new.rating, 'rating', 0, 10);
  perform batchgen.check_range(new.download_count, 'download_count', 0, 1000000000);
  perform batchgen.check_range(new.generation_strength, 'generation_strength', 0, 100);
  if not isfinite(new.archived_at) then
    perform batchgen.refuse('out_of_range', 'archived_at is not a finite time.', 'archived_at',
      'Send a time, or leave it out.');
  end if;
  if new.public_url is not null and (tg_op = 'INSERT' or new.public_url is distinct from old.public_url)
    and not batchgen.is_own_address(new.public_url, new.storage_path)
  then
    perform batchgen.refuse('not_allowed', 'public_url is not the address of storage_path in this project''s Storage.',
      'public_url', 'Send the URL from getPublicUrl, or leave it out.');
  end if;
  if new.public_url is not null and (select s.pictures from batchgen.settings s) = 'private' then
    new.public_url := null;
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_image_bounded() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_bounded() is 'Trigger: limits the values of a picture''s row.';

-- after_images_inserted_by_app()
-- Limit the rows per user: far more than a gallery needs, few enough to keep one user from filling the table.
create function batchgen.after_images_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (select from public.images i where i.user_id = auth.uid() offset 100000) then
    perform batchgen.refuse_rows('too_many_pictures', 'images', 'rows per user', 100000,
      'Delete some of your pictures first.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_images_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_images_inserted_by_app() is 'Trigger: limits the number of pictures per user.';

create function batchgen.before_image_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(old.user_id);
  return old;
end
$$;
revoke execute on function batchgen.before_image_deleted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_image_deleted_by_app() is 'Trigger: limits which pictures a user may delete.';

-- Templates: bounded, counted, and public only by an admin.

create function batchgen.refuse_publishing() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('not_writable', 'Only an admin can make a template public.', 'is_public',
    'Save it as private, and ask an admin to publish it.', null, null, 'PT403');
end
$$;
revoke execute on function batchgen.refuse_publishing() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_publishing() is 'Refuses a template that a user makes public.';

create function batchgen.before_template_written_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(case when tg_op = 'INSERT' then new.user_id else old.user_id end);
  if tg_op = 'DELETE' then
    return old;
  end if;
  perform batchgen.refuse_strangers(new.user_id);
  perform batchgen.check_text(new.name, 'name', 200);
  perform batchgen.check_text(new.category, 'category', 200);
  perform batchgen.check_prompt(new.prompt, 'prompt');
  perform batchgen.check_prompt(new.negative_prompt, 'negative_prompt');
  if tg_op = 'INSERT' then
    if coalesce(new.use_count, 0) <> 0 then
      perform batchgen.refuse_column('use_count');
    end if;
    if new.is_public then
      perform batchgen.refuse_publishing();
    end if;
    return new;
  end if;
  if new.use_count is distinct from old.use_count then
    perform batchgen.refuse_column('use_count');
  end if;
  if new.is_public and old.is_public is not true then
    perform batchgen.refuse_publishing();
  end if;
  -- Others see only what an admin has reviewed: an edit makes the template private again.
  if new.is_public and (new.name, new.prompt, new.negative_prompt, new.category)
    is distinct from (old.name, old.prompt, old.negative_prompt, old.category)
  then
    new.is_public := false;
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_template_written_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_template_written_by_app() is
  'Trigger: limits what a user may write to a prompt template.';

create function batchgen.after_templates_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('batchgen.templates ' || auth.uid(), 0));
  if exists (select from public.prompt_templates t where t.user_id = auth.uid() offset 1000) then
    perform batchgen.refuse_rows('too_many_templates', 'prompt_templates', 'templates per user', 1000,
      'Delete some of yours first.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_templates_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_templates_inserted_by_app() is
  'Trigger: limits the number of prompt templates per user.';

-- All users share the tags. The user who created a tag may delete it while no other user uses it.

-- before_tag_inserted_by_app()
-- Check a tag that the app inserts; the app takes error 23505 to mean that it exists already.
create function batchgen.before_tag_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  new.name := batchgen.check_tag_name(new.name, 'name');
  if array[new.name] is distinct from batchgen.clean_tags(array[new.name]) then
    perform batchgen.refuse('not_allowed', 'A tag must be lower case, without surrounding spaces.', 'name',
      'Trim it and make it lower case.');
  end if;
  if new.color is not null and not batchgen.is_color(new.color) then
    perform batchgen.refuse('not_allowed', 'color is not a colour.', 'color',
      'Send #rrggbb or a CSS colour name, or leave it out.');
  end if;
  new.created_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_tag_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_inserted_by_app() is 'Trigger: limits which tags a user may add.';

create function batchgen.before_tag_made() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.created_by := auth.uid();
  return new;
end
$$;
revoke execute on function batchgen.before_tag_made() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_made() is
  'Trigger: records the user who creates a tag, directly or through a function.';

create function batchgen.after_tags_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.count_tags(auth.uid());
  return null;
end
$$;
revoke execute on function batchgen.after_tags_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_tags_inserted_by_app() is
  'Trigger: limits the number of tags that a user may create.';

create function batchgen.before_tag_deleted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if not batchgen.is_own(old.created_by) then
    perform batchgen.refuse('not_yours', 'You did not create this tag.', 'name',
      'Remove it from your pictures instead.', null, null, 'PT403');
  end if;
  if exists (
    select from public.image_tags x join public.images i on i.id = x.image_id
    where x.tag_id = old.id and not batchgen.is_own(i.user_id)
  ) then
    perform batchgen.refuse('not_yours', 'Other users use this tag.', 'name', 'Remove it from your pictures instead.',
      null, null, 'PT403');
  end if;
  return old;
end
$$;
revoke execute on function batchgen.before_tag_deleted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_tag_deleted_by_app() is 'Trigger: limits which tags a user may delete.';

-- before_rate_limits_written()
-- Keep a user's own token from raising limits and clearing counts.
-- Errors: PT403.
create function batchgen.before_rate_limits_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', 'Only the project''s admins can change limits.', 'user_rate_limits',
    'Ask an admin for other limits; get_user_limits shows yours.', null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.before_rate_limits_written() from public, anon, authenticated, service_role;
comment on function batchgen.before_rate_limits_written() is
  'Trigger: raises PT403 if a user''s own token writes limits.';
