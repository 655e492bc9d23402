-- Costs: an append-only ledger with one row for each attempt.
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
-- For batchgen.model_times: the last pictures of a model.
create index ledger_times_of_a_model on batchgen.ledger (model_id, noted_at desc)
where outcome = 'completed' and not is_late;
create index ledger_by_time on batchgen.ledger using brin (noted_at);

alter table batchgen.ledger enable row level security;
create policy "Nobody" on batchgen.ledger for all to public using (false);
revoke all on batchgen.ledger from public, anon, authenticated, service_role;

comment on table batchgen.ledger is
  'Result and cost of each attempt. Append-only: later findings are further rows. Costs are sums of amount_usd; an '
  'order is charged in at most one of its rows.';
comment on column batchgen.ledger.generation_id is 'The item. Not a foreign key: costs outlive the item.';
comment on column batchgen.ledger.attempt is 'Number of the item''s attempt, from 1; each lease is an attempt.';
comment on column batchgen.ledger.entry is
  'attempt: the end of an attempt. settlement: what became known of its order afterwards.';
comment on column batchgen.ledger.outcome is
  'Attempts: completed, handed_back, crashed, deleted, withdrawn (removed from its batch), an error code, or failed '
  'if an admin ended it. Settlements: settled, or person if somebody decided by hand.';
comment on column batchgen.ledger.user_id is 'Owner of the item; the zero UUID if it has none.';
comment on column batchgen.ledger.batch_id is 'The item''s batch; empty if the batch was deleted before an order.';
comment on column batchgen.ledger.model_id is 'models.id; the zero UUID for items without a model.';
comment on column batchgen.ledger.provider is 'Name of the provider, as workers use it.';
comment on column batchgen.ledger.provider_model is 'The model''s id at the provider.';
comment on column batchgen.ledger.provider_version is 'The model''s version at the provider.';
comment on column batchgen.ledger.order_key is
  'The order; shared by all attempts that waited for it. Empty if nothing was ordered, or if the provider is free.';
comment on column batchgen.ledger.provider_job_id is 'The provider''s id of the job.';
comment on column batchgen.ledger.price_usd is 'Cost of the order if it is charged; empty if unknown.';
comment on column batchgen.ledger.is_charged is
  'True if the order costs money, as far as this row knows; empty if unknown or not known yet.';
comment on column batchgen.ledger.amount_usd is 'Cost: the price if charged, otherwise 0.';
comment on column batchgen.ledger.queued_seconds is 'Seconds that the job waited at the provider, if it reports them.';
comment on column batchgen.ledger.running_seconds is 'Seconds that the job ran at the provider, if it reports them.';
comment on column batchgen.ledger.is_late is
  'True if the item had already ended and its picture was fetched afterwards.';
comment on column batchgen.ledger.noted_at is 'When the row was written.';
