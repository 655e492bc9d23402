begin;
\ir ../setup.psql
\ir ../schedule.psql
insert into batchgen.schedule_runs (schedule_id, slot, outcome, fired_at) values (:'schedule', now(), 'missed', now());
create temporary table bad (change text, which text);
insert into bad values
  ('outcome = ''late''', 'outcome_of_a_run'), ('attempts = -1', 'run_attempts_in_range'),
  ('outcome = ''refused''', 'a_refused_run_says_why'), ('refusal = ''{}''', 'a_refused_run_says_why'),
  ('retry_at = now()', 'a_submitted_run_is_over'),
  ('outcome = ''submitted'', retry_at = now()', 'a_submitted_run_is_over');
select plan((select count(*) + 1 from bad)::integer);

:as_admin;
select throws_like('update batchgen.schedule_runs set ' || change, '%"' || which || '"%', change || ' is refused')
from bad;
select throws_ok($$ insert into batchgen.schedule_runs select * from batchgen.schedule_runs $$, '23505', null,
  'a slot is decided once');

select * from finish();
rollback;
