create table batchgen.touched (
  id bigint generated always as identity primary key,
  user_id uuid not null
) with (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

alter table batchgen.touched enable row level security;
create policy "Nobody" on batchgen.touched for all to public using (false);
revoke all on batchgen.touched from public, anon, authenticated, service_role;

comment on table batchgen.touched is
  'Users whose queue changed since the last claim; the next claim repairs their ready ranks.';
comment on column batchgen.touched.id is 'Surrogate key.';
comment on column batchgen.touched.user_id is 'The user whose queue changed.';
