begin;
\ir ../setup.psql
select plan(8);

create function pg_temp.refusal() returns jsonb language plpgsql as $$
declare
  v_detail text;
begin
  perform public.request_export('{ba7c0000-0000-4000-8000-000000000001}');
  return null;
exception when sqlstate 'PT429' or sqlstate 'PT422' then
  get stacked diagnostics v_detail = pg_exception_detail;
  return v_detail::jsonb;
end
$$;
grant execute on function pg_temp.refusal() to authenticated;
update public.images set file_size = 600 where user_id = 'aaaaaaaa-0000-4000-8000-000000000001';

update batchgen.settings set export_bytes_per_day = 500;
:as_owner;
select is(pg_temp.refusal() ->> 'code', 'export_too_large', 'an export has at most the bytes of a day');
:as_admin;
update batchgen.settings set export_bytes_per_day = 1000, exports_per_day = 2;
insert into batchgen.exports (user_id, batch_ids, planned_bytes, status, ended_at, expires_at, created_at) values
  ('aaaaaaaa-0000-4000-8000-000000000001', '{ba7c0000-0000-4000-8000-000000000001}', 600, 'ready', now(), now(),
    now() - interval '23 hours'),
  ('bbbbbbbb-0000-4000-8000-000000000002', '{ba7c0000-0000-4000-8000-000000000002}', 600, 'ready', now(), now(),
    now()),
  ('aaaaaaaa-0000-4000-8000-000000000001', '{ba7c0000-0000-4000-8000-000000000001}', 600, 'failed',
    now() - interval '31 days', null, now() - interval '31 days');
:as_owner;
select is(pg_temp.refusal() ->> 'code', 'daily_export_bytes', 'the bytes of a day are bounded');
select is(pg_temp.refusal() -> 'limit', '1000', 'and told');
select cmp_ok((pg_temp.refusal() ->> 'resets_at')::timestamptz, '<', now() + interval '61 minutes',
  'with the time when enough of them no longer count');
:as_admin;
update batchgen.settings set export_bytes_per_day = 100000, exports_per_day = 1;
:as_owner;
select is(pg_temp.refusal() ->> 'code', 'daily_exports', 'the number of a day is bounded');
:as_admin;
update batchgen.settings set exports_per_day = 0;
:as_owner;
select is(pg_temp.refusal() -> 'resets_at', 'null', 'exports that are switched off never come back');
:as_admin;
update batchgen.settings set exports_per_day = 2;
:as_owner;
select is(pg_temp.refusal(), null, 'other users do not count');
:as_admin;
select is((select count(*)::integer from batchgen.exports where created_at < now() - interval '30 days'), 0,
  'old exports are forgotten');

select * from finish();
rollback;
