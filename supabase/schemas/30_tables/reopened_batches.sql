create table batchgen.reopened_batches (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  reopened_at timestamptz not null default clock_timestamp()
);

alter table batchgen.reopened_batches enable row level security;
create policy "Nobody" on batchgen.reopened_batches for all to public using (false);
revoke all on batchgen.reopened_batches from public, anon, authenticated, service_role;

comment on table batchgen.reopened_batches is 'Ended batches whose items were queued again.';
comment on column batchgen.reopened_batches.batch_id is 'The batch.';
comment on column batchgen.reopened_batches.reopened_at is 'When it was last reopened.';
