-- Schedules of users: requests that run once at a time, or again and again by a cron expression. SQL cannot read cron
-- expressions across changes of the clocks, so workers compute the times of the next runs (slots) ahead, and SQL runs
-- the slots that are due: docs/decisions/0009-workers-compute-the-times-of-schedules.md.
create table batchgen.batch_schedules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text constraint schedule_name_is_short check (length(name) between 1 and 200),
  request jsonb not null constraint schedule_request_is_an_object check (jsonb_typeof(request) = 'object'),
  run_at timestamptz constraint schedule_time_is_finite check (isfinite(run_at)),
  cron text constraint cron_has_five_fields check (cron ~ '^\S+( \S+){4}$' and length(cron) <= 400),
  time_zone text not null default 'UTC' constraint time_zone_is_short check (length(time_zone) between 1 and 100),
  missed_runs text not null default 'one'
    constraint missed_runs_is_a_rule check (missed_runs in ('skip', 'one', 'all')),
  paused_at timestamptz,
  client_key text,
  body_hash bytea,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version integer not null default 1,
  slots timestamptz[] not null default '{}',
  planned_until timestamptz not null default now(),
  retry_at timestamptz,
  problem jsonb,
  due_at timestamptz not null generated always as (
    case
      when paused_at is not null then 'infinity'
      when retry_at is null then coalesce(slots[1], 'infinity')
      when missed_runs = 'one' then least(retry_at, coalesce(slots[2], 'infinity'))
      else retry_at
    end
  ) stored,
  plan_at timestamptz not null generated always as (
    case
      when problem is not null or planned_until = 'infinity' then 'infinity'
      else coalesce(slots[cardinality(slots) - 4], '-infinity')
    end
  ) stored,
  constraint a_schedule_runs_once_or_by_cron check ((run_at is null) <> (cron is null)),
  constraint a_client_key_makes_one_schedule unique (user_id, client_key)
);
create index batch_schedules_due on batchgen.batch_schedules (due_at, id);
create index batch_schedules_plan on batchgen.batch_schedules (plan_at, id);
create index batch_schedules_created on batchgen.batch_schedules (created_at, id);

alter table batchgen.batch_schedules enable row level security;
create policy "Nobody" on batchgen.batch_schedules for all to public using (false);
revoke all on batchgen.batch_schedules from public, anon, authenticated, service_role;

comment on table batchgen.batch_schedules is
  'Requests that run at a time, or again and again by a cron expression. Edit and pause them here, too.';
comment on column batchgen.batch_schedules.id is 'Surrogate key.';
comment on column batchgen.batch_schedules.user_id is 'User whose batches the schedule makes.';
comment on column batchgen.batch_schedules.name is 'Name for people.';
comment on column batchgen.batch_schedules.request is 'The request of each run, as for create_batch.';
comment on column batchgen.batch_schedules.run_at is 'Time of the only run; empty if there is a cron expression.';
comment on column batchgen.batch_schedules.cron is
  'Minute, hour, day of month, month, day of week (0 and 7 are Sunday), in time_zone.';
comment on column batchgen.batch_schedules.time_zone is 'IANA time zone, such as Europe/Berlin.';
comment on column batchgen.batch_schedules.missed_runs is
  'Which slots run that were missed or refused: skip (none), one (the last), all (up to settings.max_missed_runs).';
comment on column batchgen.batch_schedules.paused_at is 'Since when nothing runs; empty it to go on.';
comment on column batchgen.batch_schedules.client_key is
  'Key that the sender gave: a repeated call makes no second schedule.';
comment on column batchgen.batch_schedules.body_hash is 'Hash of the schedule as it was sent with client_key.';
comment on column batchgen.batch_schedules.created_at is 'When it was created.';
comment on column batchgen.batch_schedules.updated_at is 'When it was last edited.';
comment on column batchgen.batch_schedules.version is 'Rises with every change of its times.';
comment on column batchgen.batch_schedules.slots is 'Times to run at, as far as they are planned and not yet decided.';
comment on column batchgen.batch_schedules.planned_until is
  'All slots up to here are planned; infinity if there are no more.';
comment on column batchgen.batch_schedules.retry_at is 'When the first slot, which was refused, is tried again.';
comment on column batchgen.batch_schedules.problem is 'Why no times can be computed, as a refusal; empty if they can.';
comment on column batchgen.batch_schedules.due_at is 'When a worker has to run or decide a slot.';
comment on column batchgen.batch_schedules.plan_at is 'When fewer than five slots are ahead.';
