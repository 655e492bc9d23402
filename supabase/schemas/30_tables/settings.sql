create table batchgen.settings (
  id boolean primary key default true constraint settings_has_one_row check (id),
  max_parallel_per_user integer not null default 3
    constraint max_parallel_per_user_in_range check (max_parallel_per_user between 1 and 100000),
  max_parallel_global integer not null default 20
    constraint max_parallel_global_in_range check (max_parallel_global between 1 and 100000),
  max_retries integer not null default 3 constraint max_retries_in_range check (max_retries between 0 and 20),
  retry_delays_seconds double precision[] not null default '{5,10,30}' constraint retry_delays_seconds_in_range check (
    cardinality(retry_delays_seconds) between 1 and 20
    and array_ndims(retry_delays_seconds) = 1 and array_lower(retry_delays_seconds, 1) = 1
    and array_position(retry_delays_seconds, null) is null
    and 0 <= all (retry_delays_seconds) and 86400 >= all (retry_delays_seconds)
  ),
  max_crashes integer not null default 3 constraint max_crashes_in_range check (max_crashes between 1 and 20),
  min_batch_size integer not null default 2
    constraint min_batch_size_in_range check (min_batch_size between 1 and max_batch_size),
  max_batch_size integer not null default 10
    constraint max_batch_size_in_range check (max_batch_size between 1 and 100),
  max_prompt_characters integer not null default 4000
    constraint max_prompt_characters_in_range check (max_prompt_characters between 1 and 100000),
  max_guidance_scale double precision not null default 30
    constraint max_guidance_scale_in_range check (max_guidance_scale between 0 and 1000),
  export_hours integer not null default 24 constraint export_hours_in_range check (export_hours between 1 and 720),
  exports_per_day integer not null default 10
    constraint exports_per_day_in_range check (exports_per_day between 0 and 10000),
  export_bytes_per_day bigint not null default 1073741824
    constraint export_bytes_per_day_in_range check (export_bytes_per_day between 0 and 1000000000000000),
  export_part_bytes bigint not null default 48000000
    constraint export_part_bytes_in_range check (export_part_bytes between 1000000 and 50000000000),
  breaker_failures integer not null default 5
    constraint breaker_failures_in_range check (breaker_failures between 1 and 1000),
  breaker_open_seconds double precision not null default 60
    constraint breaker_open_seconds_in_range check (breaker_open_seconds between 0 and 86400),
  suspect_turn_seconds double precision not null default 10
    constraint suspect_turn_seconds_in_range check (suspect_turn_seconds between 0 and 3600),
  worker_silence_seconds double precision not null default 30
    constraint worker_silence_seconds_in_range check (worker_silence_seconds between 5 and 86400),
  updated_at timestamptz not null default now(),
  image_retention_days integer
    constraint image_retention_days_in_range check (image_retention_days between 1 and 36500),
  trash_days integer not null default 7 constraint trash_days_in_range check (trash_days between 0 and 3650),
  max_waiting_per_user integer not null default 100
    constraint max_waiting_per_user_in_range check (max_waiting_per_user between 1 and 1000000),
  default_daily_limit integer not null default 5000
    constraint default_daily_limit_in_range check (default_daily_limit between 0 and 1000000000),
  default_hourly_limit integer not null default 1000
    constraint default_hourly_limit_in_range check (default_hourly_limit between 0 and 1000000000),
  pictures text not null default 'public' constraint pictures_is_known check (pictures in ('public', 'private')),
  credits boolean not null default false,
  monthly_credits numeric(18, 6) not null default 0
    constraint monthly_credits_in_range check (monthly_credits between 0 and 1000000000),
  broadcast_changes boolean not null default true,
  max_schedules_per_user integer not null default 20
    constraint max_schedules_per_user_in_range check (max_schedules_per_user between 0 and 10000),
  min_schedule_seconds integer not null default 300
    constraint min_schedule_seconds_in_range check (min_schedule_seconds between 60 and 86400),
  schedule_grace_seconds integer not null default 600
    constraint schedule_grace_seconds_in_range check (schedule_grace_seconds between 0 and 86400),
  max_missed_runs integer not null default 100
    constraint max_missed_runs_in_range check (max_missed_runs between 1 and 1000),
  missed_run_days integer not null default 7
    constraint missed_run_days_in_range check (missed_run_days between 1 and 365)
);

alter table batchgen.settings enable row level security;
create policy "Nobody" on batchgen.settings for all to public using (false);
revoke all on batchgen.settings from public, anon, authenticated, service_role;

insert into batchgen.settings default values;

comment on table batchgen.settings is
  'Limits for all workers and clients. There is one row; edit it in place. A change takes effect at the next claim.';
comment on column batchgen.settings.id is 'Always true: there is one row.';
comment on column batchgen.settings.max_parallel_per_user is 'Maximum items of one user that run at once.';
comment on column batchgen.settings.max_parallel_global is 'Maximum items that run at once in all.';
comment on column batchgen.settings.max_retries is 'Retries of a failed attempt before the item fails.';
comment on column batchgen.settings.retry_delays_seconds is
  'Seconds before the first, second, … retry; the last value holds for all further retries.';
comment on column batchgen.settings.max_crashes is
  'Expired leases (dead workers) before the item fails with code crashed, counting only those of workers that ran '
  'nothing else.';
comment on column batchgen.settings.min_batch_size is 'Minimum prompts per batch.';
comment on column batchgen.settings.max_batch_size is 'Maximum prompts per batch.';
comment on column batchgen.settings.max_prompt_characters is
  'Maximum length of a prompt or negative prompt, in characters.';
comment on column batchgen.settings.max_guidance_scale is 'Maximum guidance scale of a request.';
comment on column batchgen.settings.export_hours is 'Hours for which the files of an export can be downloaded.';
comment on column batchgen.settings.exports_per_day is 'Maximum exports that a user may ask for in 24 hours.';
comment on column batchgen.settings.export_bytes_per_day is
  'Maximum bytes of pictures in the exports that a user may ask for in 24 hours.';
comment on column batchgen.settings.export_part_bytes is
  'Maximum bytes of one ZIP file of an export. Storage must take files of this size.';
comment on column batchgen.settings.breaker_failures is
  'Number of different items of a model that must fail through the provider''s fault, with no success in between, to '
  'open its breaker.';
comment on column batchgen.settings.breaker_open_seconds is
  'How long an open breaker starts nothing of its model; then one item is tried.';
comment on column batchgen.settings.suspect_turn_seconds is
  'Where suspects (items that run alone after a worker died) wait beside others: how long the others go first, '
  'divided by the number of workers.';
comment on column batchgen.settings.worker_silence_seconds is
  'Seconds without a call after which a worker counts as gone, and waiting items are reported as waiting for a worker.';
comment on column batchgen.settings.updated_at is 'When a setting was last changed.';
comment on column batchgen.settings.image_retention_days is
  'Days after which pictures of batches that nobody saved or marked as a favourite are deleted; empty: never.';
comment on column batchgen.settings.trash_days is
  'Days after which pictures and batches in the trash are deleted.';
comment on column batchgen.settings.max_waiting_per_user is
  'Maximum waiting items per user; running ones do not count.';
comment on column batchgen.settings.default_daily_limit is
  'Maximum items that a user may submit per day, unless user_rate_limits sets another limit.';
comment on column batchgen.settings.default_hourly_limit is
  'Maximum items that a user may submit per hour, unless user_rate_limits sets another limit.';
comment on column batchgen.settings.credits is
  'True: users pay for pictures with credits. Items that are queued already when this changes end as they began, with '
  'or without a hold.';
comment on column batchgen.settings.monthly_credits is
  'Credits that each user gets per month while credits is true, unless credit_terms sets another number.';
comment on column batchgen.settings.pictures is
  'public: anyone who knows the address of a picture can see it. private: only its owner, by links that expire. Switch '
  'with batchgen storage public or private.';
comment on column batchgen.settings.broadcast_changes is
  'Whether changes of batches are also sent to their owners and to workers by Realtime broadcast.';
comment on column batchgen.settings.max_schedules_per_user is 'Maximum schedules that a user may have.';
comment on column batchgen.settings.min_schedule_seconds is 'Shortest time between two runs of a schedule.';
comment on column batchgen.settings.schedule_grace_seconds is
  'How late a slot of a schedule may run before it counts as missed.';
comment on column batchgen.settings.max_missed_runs is
  'Maximum missed slots that a schedule with the rule all runs; older ones pass.';
comment on column batchgen.settings.missed_run_days is
  'Days after which a missed or refused slot of a schedule is not run any more.';
