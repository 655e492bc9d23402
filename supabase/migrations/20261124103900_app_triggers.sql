-- All triggers on the app's tables, created last, when all functions that they call exist.

create trigger batchgen_reopened after update of status on public.batch_generations
for each row when (old.status in ('completed', 'partial', 'failed') and new.status in ('pending', 'processing'))
execute function batchgen.after_batch_reopened();
-- Depth 0 means a direct edit: the totals' own updates come from triggers.
create trigger batchgen_before_update
before update of total_count, completed_count, failed_count, status, completed_at on public.batch_generations
for each row when (pg_trigger_depth() = 0) execute function batchgen.before_batch_updated();
create trigger batchgen_app_insert before insert on public.batch_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.refuse_app('Submit the batch with create_batch.');
create trigger batchgen_app_update before update on public.batch_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.before_batch_updated_by_app();
create trigger batchgen_app_updated after update on public.batch_generations
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.after_batches_updated_by_app();
create trigger batchgen_app_delete before delete on public.batch_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.batch_generations'::regclass))
execute function batchgen.before_batch_deleted_by_app();

create trigger batchgen_after_delete after delete on public.image_generations
referencing old table as old_rows for each statement execute function batchgen.after_generations_deleted();
create trigger batchgen_after_insert after insert on public.image_generations
referencing new table as new_rows for each statement execute function batchgen.after_generations_inserted();
create trigger batchgen_after_update after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement
execute function batchgen.after_generations_updated();
create trigger batchgen_before_leaving before update of batch_id on public.image_generations
for each row when (old.batch_id is not null and new.batch_id is null and new.status = 'pending')
execute function batchgen.before_item_leaves_batch();
-- The worker's functions set error_code themselves and skip this trigger.
create trigger batchgen_error_code before update of status on public.image_generations
for each row when (new.batch_id is not null and (new.status = 'failed') is distinct from (new.error_code is not null))
execute function batchgen.before_item_status_updated();
create trigger batchgen_app_insert before insert on public.image_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_inserted_by_app();
create trigger batchgen_bounds before insert on public.image_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.before_item_bounded();
create trigger batchgen_rows after insert on public.image_generations
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');
create trigger batchgen_rows_counted after insert on public.image_generations
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.after_items_inserted_by_app();
create trigger batchgen_app_update before update on public.image_generations
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
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
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_generations'::regclass))
execute function batchgen.refuse_app('Delete the picture or the batch.');

create trigger batchgen_after_delete after delete on public.images
referencing old table as old_rows for each statement
when (current_user not in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('0');
-- The app removes the file before the row, and may store another file at the same path next: the delay spares that one.
create trigger batchgen_after_delete_by_app after delete on public.images
referencing old table as old_rows for each statement
when (current_user in ('anon', 'authenticated'))
execute function batchgen.after_images_deleted('600');
create trigger batchgen_after_move after update of storage_path, thumbnail_path on public.images
for each row when (
  new.storage_path is distinct from old.storage_path or new.thumbnail_path is distinct from old.thumbnail_path
)
execute function batchgen.after_image_moved();
create trigger batchgen_app_insert before insert on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_inserted_by_app();
create trigger batchgen_app_update before update on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_updated_by_app();
create trigger batchgen_bounds before insert or update on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_bounded();
create trigger batchgen_rows after insert on public.images
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');
create trigger batchgen_rows_of_user after insert on public.images for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.after_images_inserted_by_app();
create trigger batchgen_app_delete before delete on public.images
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.before_image_deleted_by_app();
create trigger batchgen_app_truncate before truncate on public.images
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.images'::regclass))
execute function batchgen.refuse_app('Delete your own pictures.');

create trigger batchgen_app_write before insert or delete on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.before_image_tag_written_by_app();
create trigger batchgen_bounds before insert on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.before_image_tag_counted();
create trigger batchgen_rows after insert on public.image_tags
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.after_rows_inserted_by_app('200');
create trigger batchgen_app_update before update on public.image_tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.refuse_app('Remove the tag and add another one.');
create trigger batchgen_app_truncate before truncate on public.image_tags
for each statement
  when (current_user in ('anon', 'authenticated') or row_security_active('public.image_tags'::regclass))
execute function batchgen.refuse_app('Remove your own tags.');

-- Only admins write models.
create trigger batchgen_guard before insert or update or delete or truncate on public.models
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.models'::regclass))
execute function batchgen.refuse_app('Only the project''s admins can change models.');

create trigger batchgen_app_write before insert or update or delete on public.prompt_templates
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.before_template_written_by_app();
create trigger batchgen_rows after insert on public.prompt_templates
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');
create trigger batchgen_rows_of_user after insert on public.prompt_templates for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.after_templates_inserted_by_app();
create trigger batchgen_app_truncate before truncate on public.prompt_templates
for each statement
  when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.refuse_app('Delete your own templates.');

create trigger batchgen_app_insert before insert on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_inserted_by_app();
create trigger batchgen_made_by before insert on public.tags
for each row when (new.created_by is null or current_user in ('anon', 'authenticated')
  or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_made();
create trigger batchgen_rows after insert on public.tags
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.after_rows_inserted_by_app('20');
create trigger batchgen_rows_of_user after insert on public.tags for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.after_tags_inserted_by_app();
create trigger batchgen_app_change before update on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.refuse_app('Add a tag instead: all users share them.');
create trigger batchgen_app_delete before delete on public.tags
for each row when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.before_tag_deleted_by_app();
create trigger batchgen_app_truncate before truncate on public.tags
for each statement when (current_user in ('anon', 'authenticated') or row_security_active('public.tags'::regclass))
execute function batchgen.refuse_app('Add a tag instead: all users share them.');

-- The counting functions run as their owner, and admins as themselves, so the condition tests the statement's role.
create trigger batchgen_guard before insert or update or delete or truncate on public.user_rate_limits
for each statement
  when (current_user in ('anon', 'authenticated')) execute function batchgen.before_rate_limits_written();

-- Items that the app cancelled before this migration; only their message shows it.
insert into batchgen.failures (generation_id, code)
select g.id, 'cancelled' from public.image_generations g
where g.batch_id is not null and g.status = 'failed' and g.error_message = 'Cancelled by user'
on conflict do nothing;

-- Queue items that waited before this migration: otherwise no worker would ever claim them.
with queued as (
  insert into batchgen.queue (generation_id, user_id, priority, created_at, batch_index, model_id)
  select g.id, batchgen.owner_of(g.user_id, g.batch_id), batchgen.place_of(g.priority),
    coalesce(g.created_at, now()), coalesce(g.batch_index, 0),
    coalesce(g.model_id, '00000000-0000-0000-0000-000000000000')
  from public.image_generations g where g.batch_id is not null and g.status = 'pending'
  returning user_id
)
insert into batchgen.touched (user_id) select distinct user_id from queued;

-- Grants and policies for exactly these writes. A table with the app's own policies keeps them; if batch_generations
-- has none for a command that the app needs, one is added.
grant update (status, failed_count, completed_at), delete on public.batch_generations to authenticated;

do $$
begin
  if not exists (
    select from pg_policies
    where schemaname = 'public' and tablename = 'batch_generations' and cmd in ('UPDATE', 'ALL')
  ) then
    create policy "Owners update their batches" on public.batch_generations
      for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
  end if;
  if not exists (
    select from pg_policies
    where schemaname = 'public' and tablename = 'batch_generations' and cmd in ('DELETE', 'ALL')
  ) then
    create policy "Owners delete their batches" on public.batch_generations
      for delete to authenticated using (user_id = (select auth.uid()));
  end if;

  if not exists (
    select from batchgen.found_objects where kind = 'policy' and on_table = 'public.image_generations'
  ) then
    grant insert (
      user_id, prompt, negative_prompt, model, model_id, style, width, height, steps, guidance_scale, seed, status,
      source_image_url, generation_strength
    ), update (status, error_message, retry_count, completed_at) on public.image_generations to authenticated;
    create policy "Owners insert single generations" on public.image_generations
      for insert to authenticated
      with check (user_id = (select auth.uid()) and batch_id is null and status = 'pending');
    create policy "Owners update their generations" on public.image_generations
      for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
  end if;
end
$$;

-- Grants and policies for exactly these writes, on tables without policies of the app.
do $$
begin
  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.images') then
    grant insert (
      generation_id, user_id, filename, storage_path, prompt, public_url, negative_prompt, model, style, width,
      height, format, file_size, blurhash, is_public, is_favorite, rating, download_count, archived_at, source_image_id,
      generation_strength
    ), update (filename, blurhash, is_public, is_favorite, rating, download_count, archived_at), delete
    on public.images to authenticated;
    create policy "Owners insert their images" on public.images
      for insert to authenticated with check (user_id = (select auth.uid()));
    create policy "Owners update their images" on public.images
      for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
    create policy "Owners delete their images" on public.images
      for delete to authenticated using (user_id = (select auth.uid()));
  end if;

  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.tags') then
    grant insert (name, color) on public.tags to authenticated;
    create policy "Signed-in users add tags" on public.tags
      for insert to authenticated with check (name = lower(name) and (select auth.uid()) is not null);
    grant delete on public.tags to authenticated;
    create policy "Users delete tags that they made" on public.tags
      for delete to authenticated using (created_by = (select auth.uid()));
  end if;

  if not exists (select from batchgen.found_objects where kind = 'policy' and on_table = 'public.image_tags') then
    grant insert (image_id, tag_id), delete on public.image_tags to authenticated;
    create policy "Owners tag their images" on public.image_tags
      for insert to authenticated
      with check (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));
    create policy "Owners untag their images" on public.image_tags
      for delete to authenticated
      using (exists (select from public.images i where i.id = image_id and i.user_id = (select auth.uid())));
  end if;
end
$$;
