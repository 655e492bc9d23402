-- An order is recorded before it is sent.
--
-- Locks: an order's row is locked after the queue row of its item, by the session that holds the queue row; see
-- settle_order for the sweep.
create table batchgen.orders (
  key uuid primary key default gen_random_uuid(),
  generation_id uuid not null,
  user_id uuid not null,
  batch_id uuid,
  model_id uuid not null,
  seed bigint not null default 0,
  provider text not null constraint order_names_its_provider check (provider <> ''),
  provider_model text,
  provider_version text,
  inputs jsonb not null default '{}',
  price_usd numeric(12, 6),
  worker text not null,
  ordered_at timestamptz not null default clock_timestamp(),
  provider_job_id text,
  is_charged boolean,
  queued_seconds double precision,
  running_seconds double precision,
  is_late boolean not null default false,
  late_code text,
  late_message text,
  ended_at timestamptz,
  ask_at timestamptz,
  asked integer not null default 0,
  is_settled boolean not null default false,
  is_superseded boolean not null default false,
  lease_id uuid,
  lease_expires_at timestamptz,
  constraint only_an_open_order_is_asked_about check (
    (ended_at is null) = (ask_at is null) and (ended_at is not null or lease_id is null)
  ),
  constraint an_order_is_leased_whole check ((lease_id is null) = (lease_expires_at is null)),
  constraint order_price_in_range check (price_usd between 0 and 1000),
  constraint order_times_are_finite check (
    isfinite(ordered_at) and isfinite(ended_at) is not false and isfinite(ask_at) is not false
    and isfinite(lease_expires_at) is not false
  ),
  constraint asked_in_range check (asked between 0 and 1000000000)
) with (fillfactor = 80, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.02);
create index orders_of_a_generation on batchgen.orders (generation_id);
create index orders_to_ask_about on batchgen.orders (ask_at) where ended_at is not null;

alter table batchgen.orders enable row level security;
create policy "Nobody" on batchgen.orders for all to public using (false);
revoke all on batchgen.orders from public, anon, authenticated, service_role;

comment on table batchgen.orders is
  'Orders without a final outcome: those of running or waiting items and, with ended_at, open orders whose provider a '
  'sweep asks. Final ones are in ledger.';
comment on column batchgen.orders.key is 'Id of the order; sent to providers that accept an idempotency key.';
comment on column batchgen.orders.generation_id is 'The item. Not a foreign key: costs outlive the item.';
comment on column batchgen.orders.user_id is 'Owner of the item; the zero UUID if it has none.';
comment on column batchgen.orders.batch_id is 'The item''s batch at the time of the order.';
comment on column batchgen.orders.model_id is 'models.id; the zero UUID for items without a model.';
comment on column batchgen.orders.seed is 'The item''s seed.';
comment on column batchgen.orders.provider is 'Name of the provider, as workers use it.';
comment on column batchgen.orders.provider_model is 'The model''s id at the provider.';
comment on column batchgen.orders.provider_version is 'The model''s version at the provider.';
comment on column batchgen.orders.inputs is 'Inputs about to be sent; they identify an order whose answer was lost.';
comment on column batchgen.orders.price_usd is 'Cost if the order is charged, from the model''s row; empty if unknown.';
comment on column batchgen.orders.worker is 'The worker that sent it.';
comment on column batchgen.orders.ordered_at is 'Time just before the order was sent.';
comment on column batchgen.orders.provider_job_id is
  'The provider''s id of the job; empty while it is unknown whether the order arrived.';
comment on column batchgen.orders.is_charged is 'True if the order costs money; empty if unknown.';
comment on column batchgen.orders.queued_seconds is 'Seconds that the job waited at the provider.';
comment on column batchgen.orders.running_seconds is 'Seconds that the job ran at the provider.';
comment on column batchgen.orders.is_late is
  'True if the item had already ended and runs again only to fetch the picture.';
comment on column batchgen.orders.late_code is 'Error code before the item was reopened.';
comment on column batchgen.orders.late_message is 'Error message before the item was reopened.';
comment on column batchgen.orders.ended_at is
  'When the item ended without a known outcome of the order; empty while the item waits or runs.';
comment on column batchgen.orders.ask_at is 'When to ask the provider next.';
comment on column batchgen.orders.asked is 'How often the provider was asked.';
comment on column batchgen.orders.is_settled is
  'True if the cost is in the ledger. The item crashed; for a day, running it again finds the picture through this '
  'row.';
comment on column batchgen.orders.is_superseded is
  'True if the item was edited since: the order''s cost still counts, but its picture is never fetched.';
comment on column batchgen.orders.lease_id is 'Minted when a worker takes the order to ask its provider.';
comment on column batchgen.orders.lease_expires_at is 'After this, another worker may ask.';
