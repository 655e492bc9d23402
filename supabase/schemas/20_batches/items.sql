-- Two columns beside the specification's four: a machine-readable error code, and the start of the last attempt. Both
-- are written in the updates that start and end an attempt.
alter table public.image_generations add column error_code text;
alter table public.image_generations add column started_at timestamptz;

grant insert (
  user_id, prompt, negative_prompt, model, model_id, style, width, height, steps, guidance_scale, seed, status,
  source_image_url, generation_strength
), update (status, error_message, retry_count, completed_at) on public.image_generations to authenticated;
create policy "Owners insert single generations" on public.image_generations
  for insert to authenticated with check (user_id = (select auth.uid()) and batch_id is null and status = 'pending');
create policy "Owners update their generations" on public.image_generations
  for update to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));

comment on column public.image_generations.batch_id is
  'The batch that this item belongs to; empty for single generations, which the batch worker never takes.';
comment on column public.image_generations.batch_index is 'Position of the item in its batch, from 0.';
comment on column public.image_generations.retry_count is 'Number of failed attempts that were retried.';
comment on column public.image_generations.priority is 'Higher runs first; 0 is normal.';
comment on column public.image_generations.error_code is
  'Error code for programs (cancelled, timeout, crashed, …); empty unless the item has failed.';
comment on column public.image_generations.started_at is
  'Start of the current or last attempt; empty for an item that was never started.';
