-- 20_batches/specification.sql and 20_batches/items.sql add columns to this table, policies and the grants to users.
create table public.image_generations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id) on delete cascade,
  prompt text not null,
  negative_prompt text,
  model text,
  model_id uuid references public.models (id) on delete set null,
  style text,
  width integer,
  height integer,
  steps integer,
  guidance_scale double precision,
  seed bigint,
  status text default 'pending' check (status in ('pending', 'processing', 'completed', 'failed')),
  error_message text,
  source_image_url text,
  generation_strength double precision,
  replicate_prediction_id text,
  generation_time_seconds integer,
  created_at timestamptz default now(),
  completed_at timestamptz
);
create index idx_image_generations_user on public.image_generations (user_id, created_at desc);
create index idx_image_generations_model on public.image_generations (model_id);

alter table public.image_generations enable row level security;
revoke all on public.image_generations from anon, authenticated, service_role;
grant select on public.image_generations to authenticated;
grant select, insert, update, delete on public.image_generations to service_role;
create policy "Owners read their generations" on public.image_generations
  for select to authenticated using (user_id = (select auth.uid()));

comment on table public.image_generations is
  'One row per requested picture. Rows with a batch_id are run by the batchgen worker, rows without one by the app '
  'itself.';
comment on column public.image_generations.id is 'The item; its picture lies at {user_id}/{id}.{format}.';
comment on column public.image_generations.user_id is 'Whose item it is; sees it and pays for it with their limits.';
comment on column public.image_generations.prompt is 'What the picture should show.';
comment on column public.image_generations.negative_prompt is 'What the picture should not show.';
comment on column public.image_generations.model is 'models.name at the time of the request.';
comment on column public.image_generations.model_id is 'The model that makes the picture.';
comment on column public.image_generations.style is 'The app''s name of a style.';
comment on column public.image_generations.width is 'Width in pixels.';
comment on column public.image_generations.height is 'Height in pixels.';
comment on column public.image_generations.steps is 'Steps of the model.';
comment on column public.image_generations.guidance_scale is 'How closely the picture follows the prompt.';
comment on column public.image_generations.seed is
  'What chance begins from; chosen and stored where a request has none. 0 is a seed.';
comment on column public.image_generations.status is
  'pending, processing, completed or failed. Set it to pending to run the item again, to failed to end it; the queue '
  'follows.';
comment on column public.image_generations.error_message is 'Why the item failed, as a sentence for its user.';
comment on column public.image_generations.source_image_url is
  'The picture that this one is made from, for single generations of the app.';
comment on column public.image_generations.generation_strength is
  'How far the picture may go from the one that it is made from.';
comment on column public.image_generations.replicate_prediction_id is
  'The provider''s id of a single generation of the app; items of batches have theirs in batchgen.queue.';
comment on column public.image_generations.generation_time_seconds is
  'How long the attempt that succeeded took, in seconds.';
comment on column public.image_generations.created_at is 'When the item was submitted; earlier ones run first.';
comment on column public.image_generations.completed_at is 'When the item ended, completed or failed.';
