-- A model whose items keep failing by the provider's fault is left alone by its breaker, then tried with one item at a
-- time.
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
  'Models whose last items failed by the provider''s fault; the first success deletes the row. Delete it to let all '
  'items run at once.';
comment on column batchgen.breakers.model_id is 'models.id; zeros for items that name no model.';
comment on column batchgen.breakers.failed_generation_ids is
  'The items that failed since the last success, each once: one item that always fails says nothing about its model.';
comment on column batchgen.breakers.opened_until is
  'Empty: closed, faults are counted. Until this time nothing of the model starts; after it, one item at a time.';
comment on column batchgen.breakers.probe_lease_id is 'The lease of the item that tries whether the model works again.';
comment on column batchgen.breakers.updated_at is 'When a fault was last counted.';
comment on column batchgen.breakers.reason is 'The code of the fault that opened it.';
comment on column batchgen.breakers.message is 'What is to be done about it, as the provider or the worker said.';
