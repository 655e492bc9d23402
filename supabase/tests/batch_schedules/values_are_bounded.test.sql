begin;
\ir ../setup.psql
\ir ../schedule.psql
create temporary table bad (change text, which text);
insert into bad values
  ('name = ''''', 'schedule_name_is_short'), ('name = repeat(''n'', 201)', 'schedule_name_is_short'),
  ('request = ''[]''', 'schedule_request_is_an_object'),
  ('cron = null, run_at = ''infinity''', 'schedule_time_is_finite'),
  ('cron = ''0 9 * *''', 'cron_has_five_fields'),
  ('cron = ''0 9 * * '' || repeat(''1'', 400)', 'cron_has_five_fields'),
  ('time_zone = ''''', 'time_zone_is_short'), ('time_zone = repeat(''z'', 101)', 'time_zone_is_short'),
  ('missed_runs = ''some''', 'missed_runs_is_a_rule'),
  ('run_at = now()', 'a_schedule_runs_once_or_by_cron'), ('cron = null', 'a_schedule_runs_once_or_by_cron');
select plan((select count(*) + 1 from bad)::integer);

:as_admin;
-- Without the trigger that refuses most of these first, as a replica or a restore writes them.
set local session_replication_role = replica;
select throws_like('update batchgen.batch_schedules set ' || change, '%"' || which || '"%', change || ' is refused')
from bad;
update batchgen.batch_schedules set client_key = 'k';
select throws_ok(
  $$ insert into batchgen.batch_schedules (user_id, request, cron, client_key)
    select s.user_id, s.request, s.cron, 'k' from batchgen.batch_schedules s $$, '23505', null,
  'a client_key makes one schedule'
);

select * from finish();
rollback;
