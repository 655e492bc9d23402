-- The circuit breaker of a model: opens when items keep failing through the provider's fault, then lets one item at a
-- time probe the model.
create table batchgen.breakers (
  model_id uuid primary key,
  failed_generation_ids uuid[] not null default '{}',
  opened_until timestamptz constraint opened_until_in_range
    check (opened_until between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'),
  probe_lease_id uuid,
  updated_at timestamptz not null default now(),
  reason text,
  message text,
  constraint only_an_open_breaker_is_probed check (probe_lease_id is null or opened_until is not null)
);

alter table batchgen.breakers enable row level security;
create policy "Nobody" on batchgen.breakers for all to public using (false);
revoke all on batchgen.breakers from public, anon, authenticated, service_role;

comment on table batchgen.breakers is
  'Models whose last items failed through the provider''s fault. The first success deletes the row; delete it by hand '
  'to let all items run at once.';
comment on column batchgen.breakers.model_id is 'models.id; the zero UUID for items without a model.';
comment on column batchgen.breakers.failed_generation_ids is
  'Items that failed since the last success, each listed once, because one item that always fails says nothing about '
  'its model.';
comment on column batchgen.breakers.opened_until is
  'Empty: closed, faults are counted. Otherwise no item of the model starts before this time; after it, one at a time.';
comment on column batchgen.breakers.probe_lease_id is 'Lease of the item that probes whether the model works again.';
comment on column batchgen.breakers.updated_at is 'When a fault was last counted.';
comment on column batchgen.breakers.reason is 'Error code of the fault that opened the breaker.';
comment on column batchgen.breakers.message is 'Remedy reported by the provider or the worker.';
