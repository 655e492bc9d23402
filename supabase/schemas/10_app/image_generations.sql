-- 20_batches/specification.sql and 20_batches/items.sql add columns, policies and the grants to users.
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
comment on column public.image_generations.id is 'The item''s id; its picture is stored at {user_id}/{id}.{format}.';
comment on column public.image_generations.user_id is 'The item''s owner, whose limits it counts against.';
comment on column public.image_generations.prompt is 'Description of what the picture should show.';
comment on column public.image_generations.negative_prompt is 'Description of what the picture should not show.';
comment on column public.image_generations.model is 'models.name at the time of the request.';
comment on column public.image_generations.model_id is 'The model that makes the picture.';
comment on column public.image_generations.style is 'Name of a style in the app.';
comment on column public.image_generations.width is 'Width in pixels.';
comment on column public.image_generations.height is 'Height in pixels.';
comment on column public.image_generations.steps is 'Number of inference steps.';
comment on column public.image_generations.guidance_scale is 'How closely the picture follows the prompt.';
comment on column public.image_generations.seed is
  'Seed of the random numbers; chosen and stored where a request names none. 0 is a valid seed.';
comment on column public.image_generations.status is
  'pending, processing, completed or failed. Set it to pending to run the item again, or to failed to end it; the '
  'queue follows.';
comment on column public.image_generations.error_message is
  'Error message for the user; empty unless the item has failed.';
comment on column public.image_generations.source_image_url is
  'URL of the source picture, for the app''s single generations.';
comment on column public.image_generations.generation_strength is
  'How far the picture may depart from its source picture.';
comment on column public.image_generations.replicate_prediction_id is
  'The provider''s job id of a single generation of the app; job ids of batch items are in batchgen.queue.';
comment on column public.image_generations.generation_time_seconds is 'Duration of the successful attempt, in seconds.';
comment on column public.image_generations.created_at is 'When the item was submitted; earlier items run first.';
comment on column public.image_generations.completed_at is 'When the item completed or failed.';
