create table batchgen.failures (
  generation_id uuid primary key references public.image_generations (id) on delete cascade,
  code text not null,
  failed_at timestamptz not null default now()
);
create index failures_by_time on batchgen.failures (failed_at);

alter table batchgen.failures enable row level security;
create policy "Nobody" on batchgen.failures for all to public using (false);
revoke all on batchgen.failures from public, anon, authenticated, service_role;

comment on table batchgen.failures is
  'Stable error codes of failed items; the message for people is image_generations.error_message.';
comment on column batchgen.failures.generation_id is 'The failed item.';
comment on column batchgen.failures.code is
  'Error code for programs: timeout, crashed, cancelled, blocked_by_policy and so on.';
comment on column batchgen.failures.failed_at is 'When the item failed.';
