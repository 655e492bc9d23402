-- Row level security and grants. Users read their own rows. They change them through functions, or through the few
-- direct writes that 94_app_writes/batch_generations.sql turns into valid transitions.
alter table public.batch_generations enable row level security;
revoke all on public.batch_generations from anon, authenticated, service_role;
grant select, delete on public.batch_generations to authenticated;
grant update (status, failed_count, completed_at) on public.batch_generations to authenticated;
grant select, insert, update, delete on public.batch_generations to service_role;
create policy "Owners read their batches" on public.batch_generations
  for select to authenticated using (user_id = (select auth.uid()));
create policy "Owners update their batches" on public.batch_generations
  for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy "Owners delete their batches" on public.batch_generations
  for delete to authenticated using (user_id = (select auth.uid()));

comment on table public.batch_generations is
  'One row per batch: 2 to 10 prompts with shared settings. Counts, status and completed_at are computed from the '
  'items, so edits to them do not last.';
comment on column public.batch_generations.id is
  'Id of the batch; its items are the rows of image_generations with this batch_id.';
comment on column public.batch_generations.user_id is 'Owner of the batch.';
comment on column public.batch_generations.name is 'Name given by the user; may be edited.';
comment on column public.batch_generations.total_count is 'Number of items at submission.';
comment on column public.batch_generations.completed_count is 'Number of completed items.';
comment on column public.batch_generations.failed_count is 'Number of failed items.';
comment on column public.batch_generations.status is
  'pending until an item starts, processing until all items have ended, then completed (all succeeded), partial '
  '(some) or failed (none).';
comment on column public.batch_generations.created_at is 'When the batch was submitted.';
comment on column public.batch_generations.completed_at is 'When the last item ended.';
comment on column public.batch_generations.model_id is 'models.id of the model that all items of the batch use.';
comment on column public.batch_generations.model_version is
  'Model version at the provider; empty means the official version.';
comment on column public.batch_generations.width is 'Width in pixels of all pictures.';
comment on column public.batch_generations.height is 'Height in pixels of all pictures.';
comment on column public.batch_generations.steps is 'Number of inference steps of all items.';
comment on column public.batch_generations.guidance_scale is 'How closely the pictures follow their prompts.';
