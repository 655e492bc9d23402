create table batchgen.schedule_runs (
  schedule_id uuid not null references batchgen.batch_schedules (id) on delete cascade,
  slot timestamptz not null,
  outcome text not null constraint outcome_of_a_run check (outcome in ('submitted', 'refused', 'missed')),
  fired_at timestamptz not null,
  attempts integer not null default 1 constraint run_attempts_in_range check (attempts >= 0),
  batch_id uuid references public.batch_generations (id) on delete set null,
  refusal jsonb,
  retry_at timestamptz,
  primary key (schedule_id, slot),
  constraint a_refused_run_says_why check ((outcome = 'refused') = (refusal is not null)),
  constraint a_submitted_run_is_over check (outcome = 'refused' or retry_at is null)
);
create index schedule_runs_batch on batchgen.schedule_runs (batch_id);

alter table batchgen.schedule_runs enable row level security;
create policy "Nobody" on batchgen.schedule_runs for all to public using (false);
revoke all on batchgen.schedule_runs from public, anon, authenticated, service_role;

comment on table batchgen.schedule_runs is 'Decided slots of schedules: each made a batch, was refused or was missed.';
comment on column batchgen.schedule_runs.schedule_id is 'The schedule.';
comment on column batchgen.schedule_runs.slot is 'Time that the schedule named.';
comment on column batchgen.schedule_runs.outcome is
  'submitted: a batch was made; refused: the request was refused; missed: the rule of the schedule let it pass.';
comment on column batchgen.schedule_runs.fired_at is 'When the slot was decided, or last tried.';
comment on column batchgen.schedule_runs.attempts is 'How often its request was tried.';
comment on column batchgen.schedule_runs.batch_id is 'The batch that it made; empty again if that was deleted.';
comment on column batchgen.schedule_runs.refusal is 'Why the request was refused last: code, message, field, remedy.';
comment on column batchgen.schedule_runs.retry_at is 'When it is tried again; empty if never.';
