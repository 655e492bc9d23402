-- Providers that asked to wait (HTTP 429): left alone by every worker until then.
create table batchgen.providers (
  name text primary key,
  not_before timestamptz not null constraint not_before_in_range
    check (not_before between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'),
  reason text,
  refusals integer not null default 1 constraint refusals_in_range check (refusals between 0 and 1000),
  updated_at timestamptz not null default now()
);

alter table batchgen.providers enable row level security;
create policy "Nobody" on batchgen.providers for all to public using (false);
revoke all on batchgen.providers from public, anon, authenticated, service_role;

comment on table batchgen.providers is 'Providers that asked to wait. Delete a row to ask again at once.';
comment on column batchgen.providers.name is 'The provider, as workers name it.';
comment on column batchgen.providers.not_before is 'No worker asks before this time.';
comment on column batchgen.providers.reason is 'The code of the last failure that asked for it.';
comment on column batchgen.providers.refusals is
  'How often it refused since it last made a picture; what was on its way together counts once. Each one doubles the '
  'shortest pause.';
comment on column batchgen.providers.updated_at is 'When it last asked for a wait.';
