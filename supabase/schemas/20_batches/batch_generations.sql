-- Who may see which row, and which verbs each role holds. The app's users read their own rows; what they may change
-- goes through functions, or through the few direct writes that app_writes/batch_generations.sql makes proper
-- transitions.
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
  'items; edits to them have no lasting effect.';
comment on column public.batch_generations.id is
  'The batch; its items are the rows of image_generations with this batch_id.';
comment on column public.batch_generations.user_id is 'Whose batch it is.';
comment on column public.batch_generations.name is 'What its user called it; may be edited.';
comment on column public.batch_generations.total_count is 'How many items it has, or had.';
comment on column public.batch_generations.completed_count is 'How many items are completed: counted from them.';
comment on column public.batch_generations.failed_count is 'How many items are failed: counted from them.';
comment on column public.batch_generations.status is
  'pending until an item starts, processing until all have ended, then completed (all), partial (some) or failed '
  '(none): from the items.';
comment on column public.batch_generations.created_at is 'When the batch was submitted.';
comment on column public.batch_generations.completed_at is 'When its last item ended.';
comment on column public.batch_generations.model_id is 'models.id of the model that all items of the batch use.';
comment on column public.batch_generations.model_version is
  'The model''s version at the provider; empty means the provider''s official one.';
comment on column public.batch_generations.width is 'Width in pixels, for all items.';
comment on column public.batch_generations.height is 'Height in pixels, for all items.';
comment on column public.batch_generations.steps is 'Steps of the model, for all items.';
comment on column public.batch_generations.guidance_scale is 'How closely the pictures follow their prompts.';
