-- Batches that were submitted before our first migration, on a project that has the specification's tables already.
insert into public.batch_generations (id, user_id, name, total_count, status)
values ('33333333-3333-4333-8333-333333333333', '11111111-1111-4111-8111-111111111111', 'Before', 2, 'pending');
insert into public.image_generations (id, user_id, prompt, status, batch_id, batch_index)
select ('44444444-4444-4444-8444-44444444444' || n)::uuid, '11111111-1111-4111-8111-111111111111',
  'waits since before ' || n, 'pending', '33333333-3333-4333-8333-333333333333', n
from generate_series(0, 1) n;
alter table public.batch_generations enable row level security;
create policy "own batches" on public.batch_generations for all to authenticated
  using (user_id = auth.uid()) with check (user_id = auth.uid());
