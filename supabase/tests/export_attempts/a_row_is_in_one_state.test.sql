begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(15);

:as_admin;
create temporary table bad (change text, which text);
insert into bad values
  ('batch_ids = ''{}''', 'an_export_has_batches'),
  ('batch_ids = array_fill(gen_random_uuid(), array[101])', 'an_export_has_batches'),
  ('planned_bytes = -1', 'planned_bytes_not_negative'), ('picture_count = -1', 'picture_count_not_negative'),
  ('done_count = -1', 'done_count_not_negative'), ('missing_count = -1', 'missing_count_not_negative'),
  ('parts = ''{}''', 'parts_is_a_list'), ('attempts = -1', 'export_attempts_in_range'),
  ('status = ''pending''', 'a_processing_export_has_a_lease'), ('worker = null', 'a_processing_export_has_a_lease'),
  ('lease_expires_at = null', 'a_processing_export_has_a_lease'), ('ended_at = now()', 'an_ended_export_has_its_time'),
  ('expires_at = now()', 'a_ready_export_expires');
select throws_like('update batchgen.exports set ' || change, '%"' || which || '"%', change || ' is refused') from bad;
select throws_like(
  $$ update batchgen.exports set status = 'expired', lease_id = null, lease_expires_at = null, worker = null $$,
  '%"export_status_is_known"%', 'a fifth status is refused'
);
select throws_ok(
  $$ insert into batchgen.exports (user_id, batch_ids, planned_bytes)
    select e.user_id, e.batch_ids, 1 from batchgen.exports e $$, '23505', null, 'an export is open once'
);

select * from finish();
rollback;
