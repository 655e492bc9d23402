-- What was paid: an append-only ledger with one row for each attempt.
create table batchgen.ledger (
  generation_id uuid not null,
  attempt integer not null constraint attempts_count_from_1 check (attempt >= 1),
  entry text not null constraint entry_is_known check (entry in ('attempt', 'settlement')),
  outcome text not null,
  user_id uuid not null,
  batch_id uuid,
  model_id uuid not null,
  provider text not null,
  provider_model text,
  provider_version text,
  order_key uuid,
  provider_job_id text,
  price_usd numeric(12, 6),
  is_charged boolean,
  amount_usd numeric(12, 6) not null default 0,
  queued_seconds double precision,
  running_seconds double precision,
  is_late boolean not null default false,
  noted_at timestamptz not null default clock_timestamp(),
  primary key (generation_id, attempt, entry),
  constraint only_what_is_charged_costs check (amount_usd = 0 or is_charged is true),
  constraint amounts_in_range check (price_usd between 0 and 1000 and amount_usd between 0 and 1000)
);
create index ledger_of_a_batch on batchgen.ledger (batch_id);
create index ledger_of_an_order on batchgen.ledger (order_key) where order_key is not null;
create index ledger_by_time on batchgen.ledger using brin (noted_at);

alter table batchgen.ledger enable row level security;
create policy "Nobody" on batchgen.ledger for all to public using (false);
revoke all on batchgen.ledger from public, anon, authenticated, service_role;

comment on table batchgen.ledger is
  'What each attempt did and cost. Append-only: what turns out later is another row. Sums of amount_usd are costs; an '
  'order is charged in one row of its rows at most.';
comment on column batchgen.ledger.generation_id is 'The item. No reference: money outlives the item.';
comment on column batchgen.ledger.attempt is 'The item''s attempts, counted from 1; an attempt is a lease.';
comment on column batchgen.ledger.entry is
  'attempt: how an attempt ended. settlement: what became known of its order afterwards.';
comment on column batchgen.ledger.outcome is
  'completed, handed_back, crashed, deleted, withdrawn (taken out of its batch), or the code of the failure, failed '
  'where an admin said so; of a settlement: settled, or person where somebody decided.';
comment on column batchgen.ledger.user_id is 'Whose item it is; zeros for nobody''s.';
comment on column batchgen.ledger.batch_id is 'The item''s batch; empty where it was deleted before an order.';
comment on column batchgen.ledger.model_id is 'models.id; zeros for items that name no model.';
comment on column batchgen.ledger.provider is 'The provider, as workers name it.';
comment on column batchgen.ledger.provider_model is 'The model''s id there.';
comment on column batchgen.ledger.provider_version is 'Its version there.';
comment on column batchgen.ledger.order_key is
  'The purchase; the same in all attempts that waited for it. Empty where nothing was ordered, or for free.';
comment on column batchgen.ledger.provider_job_id is 'The provider''s id of the job.';
comment on column batchgen.ledger.price_usd is 'What the order costs if it is charged; empty where nobody knows.';
comment on column batchgen.ledger.is_charged is
  'Whether it costs money, as far as this row knows; empty: not known, or not yet.';
comment on column batchgen.ledger.amount_usd is 'What it costs: the price where it is charged, otherwise 0.';
comment on column batchgen.ledger.queued_seconds is 'How long the job waited at the provider, where it tells.';
comment on column batchgen.ledger.running_seconds is 'How long it ran there.';
comment on column batchgen.ledger.is_late is 'The item had ended, and its picture was collected afterwards.';
comment on column batchgen.ledger.noted_at is 'When the row was written.';
