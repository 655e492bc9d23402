-- Providers that asked to wait (HTTP 429); no worker calls them until then.
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

comment on table batchgen.providers is 'Providers that asked to wait. Delete a row to call its provider again at once.';
comment on column batchgen.providers.name is 'Name of the provider, as workers use it.';
comment on column batchgen.providers.not_before is 'No worker calls the provider before this time.';
comment on column batchgen.providers.reason is 'Error code of the last failure that asked for a wait.';
comment on column batchgen.providers.refusals is
  'Refusals since the last picture; those of concurrent requests count once. Each one doubles the shortest pause.';
comment on column batchgen.providers.updated_at is 'When the provider last asked for a wait.';
