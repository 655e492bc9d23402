-- More of the app's own rows, for the tests that run on a project which had its tables before: the model that the tests
-- ask for, a batch that ended long ago, and policies on batches as the app has them. Nothing waits.
update public.models set is_default = false;
insert into public.models (
  name, display_name, replicate_id, cost_per_generation, estimated_time_seconds, is_active, is_default, sort_order,
  default_width, default_height, default_steps, default_guidance_scale, min_width, max_width, min_height,
  max_height, max_steps
) values ('offline-sketch', 'Offline sketch', 'batchgen/offline-sketch', 0, 1, true, true, 0, 1024, 1024, 20, 7.5, 64,
  2048, 64, 2048, 100);
insert into public.batch_generations (id, user_id, name, total_count, completed_count, failed_count, status,
  completed_at)
values ('55555555-5555-4555-8555-555555555555', '11111111-1111-4111-8111-111111111111', 'Long ago', 2, 1, 1, 'partial',
  now());
insert into public.image_generations (id, user_id, prompt, status, batch_id, batch_index, completed_at)
select ('66666666-6666-4666-8666-66666666666' || n)::uuid, '11111111-1111-4111-8111-111111111111',
  'ended long ago ' || n, case n when 0 then 'completed' else 'failed' end,
  '55555555-5555-4555-8555-555555555555', n, now()
from generate_series(0, 1) n;
alter table public.batch_generations enable row level security;
create policy "own batches" on public.batch_generations for all to authenticated
  using (user_id = auth.uid()) with check (user_id = auth.uid());
