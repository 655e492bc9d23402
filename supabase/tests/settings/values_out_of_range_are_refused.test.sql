begin;
\ir ../setup.psql
create temporary table bad (change text, which text);
insert into bad values
  ('max_parallel_per_user = 0', 'max_parallel_per_user_in_range'),
    ('max_parallel_per_user = 100001', 'max_parallel_per_user_in_range'),
  ('max_parallel_global = 0', 'max_parallel_global_in_range'),
    ('max_parallel_global = 100001', 'max_parallel_global_in_range'),
  ('max_retries = -1', 'max_retries_in_range'), ('max_retries = 21', 'max_retries_in_range'),
  ('retry_delays_seconds = ''{}''', 'retry_delays_seconds_in_range'),
    ('retry_delays_seconds = ''{-1}''', 'retry_delays_seconds_in_range'),
  ('retry_delays_seconds = ''{null}''', 'retry_delays_seconds_in_range'),
    ('retry_delays_seconds = ''{86401}''', 'retry_delays_seconds_in_range'),
  ('max_crashes = 0', 'max_crashes_in_range'), ('max_crashes = 21', 'max_crashes_in_range'),
  ('min_batch_size = 0', 'min_batch_size_in_range'), ('min_batch_size = 11', 'min_batch_size_in_range'),
  ('max_batch_size = 101', 'max_batch_size_in_range'),
  ('max_prompt_characters = 0', 'max_prompt_characters_in_range'),
    ('max_prompt_characters = 100001', 'max_prompt_characters_in_range'),
  ('max_guidance_scale = -1', 'max_guidance_scale_in_range'),
    ('max_guidance_scale = 1001', 'max_guidance_scale_in_range'),
  ('breaker_failures = 0', 'breaker_failures_in_range'), ('breaker_failures = 1001', 'breaker_failures_in_range'),
  ('breaker_open_seconds = -1', 'breaker_open_seconds_in_range'),
    ('breaker_open_seconds = 86401', 'breaker_open_seconds_in_range'),
  ('suspect_turn_seconds = -1', 'suspect_turn_seconds_in_range'),
    ('suspect_turn_seconds = 3601', 'suspect_turn_seconds_in_range'),
  ('worker_silence_seconds = 4', 'worker_silence_seconds_in_range'),
    ('worker_silence_seconds = 86401', 'worker_silence_seconds_in_range'),
  ('image_retention_days = 0', 'image_retention_days_in_range'),
    ('image_retention_days = 36501', 'image_retention_days_in_range'),
  ('trash_days = -1', 'trash_days_in_range'), ('trash_days = 3651', 'trash_days_in_range'),
  ('max_waiting_per_user = 0', 'max_waiting_per_user_in_range'),
    ('max_waiting_per_user = 1000001', 'max_waiting_per_user_in_range'),
  ('default_daily_limit = -1', 'default_daily_limit_in_range'),
    ('default_daily_limit = 1000000001', 'default_daily_limit_in_range'),
  ('default_hourly_limit = -1', 'default_hourly_limit_in_range'),
    ('default_hourly_limit = 1000000001', 'default_hourly_limit_in_range'),
  ('max_schedules_per_user = -1', 'max_schedules_per_user_in_range'),
    ('max_schedules_per_user = 10001', 'max_schedules_per_user_in_range'),
  ('min_schedule_seconds = 59', 'min_schedule_seconds_in_range'),
    ('min_schedule_seconds = 86401', 'min_schedule_seconds_in_range'),
  ('schedule_grace_seconds = -1', 'schedule_grace_seconds_in_range'),
    ('schedule_grace_seconds = 86401', 'schedule_grace_seconds_in_range'),
  ('max_missed_runs = 0', 'max_missed_runs_in_range'), ('max_missed_runs = 1001', 'max_missed_runs_in_range'),
  ('missed_run_days = 0', 'missed_run_days_in_range'), ('missed_run_days = 366', 'missed_run_days_in_range'),
  ('pictures = ''hidden''', 'pictures_is_known'),
  ('export_hours = 0', 'export_hours_in_range'), ('export_hours = 721', 'export_hours_in_range'),
  ('exports_per_day = -1', 'exports_per_day_in_range'), ('exports_per_day = 10001', 'exports_per_day_in_range'),
  ('export_bytes_per_day = -1', 'export_bytes_per_day_in_range'),
    ('export_bytes_per_day = 1000000000000001', 'export_bytes_per_day_in_range'),
  ('export_part_bytes = 999999', 'export_part_bytes_in_range'),
    ('export_part_bytes = 50000000001', 'export_part_bytes_in_range'),
  ('id = false', 'settings_has_one_row');
select plan((select count(*) + 3 from bad)::integer);

select throws_like('update batchgen.settings set ' || change, '%"' || which || '"%', change || ' is refused') from bad;
select throws_ok($$ insert into batchgen.settings default values $$, '23505', null, 'there is one row');
select isnt_empty($$ select from batchgen.settings where updated_at is not null $$, 'the row exists');
update batchgen.settings set updated_at = '2000-01-01', max_retries = 4;
select is((select updated_at from batchgen.settings), now(), 'a change is dated');

select * from finish();
rollback;
