-- Purchases are written down before they are sent.
--
-- Locks: an order's row is taken after the queue row of its item, by whoever holds that; see settle_order for the
-- sweep.
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
  'Purchases whose outcome is not final: of items that run or wait, and, with ended_at, open ones that a sweep asks '
  'the provider about. Final ones are in ledger.';
comment on column batchgen.orders.key is 'The purchase''s key; sent to providers that take one.';
comment on column batchgen.orders.generation_id is 'The item it was for. No reference: money outlives the item.';
comment on column batchgen.orders.user_id is 'Whose item it is; zeros for nobody''s.';
comment on column batchgen.orders.batch_id is 'The item''s batch when it was ordered.';
comment on column batchgen.orders.model_id is 'models.id; zeros for items that name no model.';
comment on column batchgen.orders.seed is 'The item''s seed.';
comment on column batchgen.orders.provider is 'The provider, as workers name it.';
comment on column batchgen.orders.provider_model is 'The model''s id there.';
comment on column batchgen.orders.provider_version is 'Its version there.';
comment on column batchgen.orders.inputs is 'What was about to be sent; an order whose answer got lost is known by it.';
comment on column batchgen.orders.price_usd is
  'What it costs if it is charged, as the model''s row said; empty where nobody knows.';
comment on column batchgen.orders.worker is 'Who sent it.';
comment on column batchgen.orders.ordered_at is 'Just before it was sent.';
comment on column batchgen.orders.provider_job_id is
  'The provider''s id of the job; empty while nobody knows whether the order arrived.';
comment on column batchgen.orders.is_charged is 'Whether it costs money; empty where that is not known.';
comment on column batchgen.orders.queued_seconds is 'How long the job waited at the provider.';
comment on column batchgen.orders.running_seconds is 'How long it ran there.';
comment on column batchgen.orders.is_late is 'Its item had ended, and is run again for the picture alone.';
comment on column batchgen.orders.late_code is 'Error code before the item was reopened.';
comment on column batchgen.orders.late_message is 'Error message before the item was reopened.';
comment on column batchgen.orders.ended_at is
  'Since when nobody waits for it: its item ended, and what became of the order is not known.';
comment on column batchgen.orders.ask_at is 'When the provider is asked next.';
comment on column batchgen.orders.asked is 'How often it was asked.';
comment on column batchgen.orders.is_settled is
  'What it cost is in the ledger. Its item ended as crashed, and who runs that again finds the picture here for a day.';
comment on column batchgen.orders.lease_id is 'Minted when a worker takes it to ask.';
comment on column batchgen.orders.lease_expires_at is 'After this another worker may ask.';
