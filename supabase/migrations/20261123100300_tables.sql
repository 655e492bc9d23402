-- Two schemas that the API does not expose.
--
-- batchgen: tables, views and functions that no role has any grant on. batchgen_api: functions behind the thin ones in
-- public, which run as their caller: a caller may execute the named functions in it and nothing else.
create schema batchgen_api;
revoke all on schema batchgen_api from public;
grant usage on schema batchgen_api to authenticated, service_role;

comment on schema batchgen is
  'The batch worker''s private schema: settings, the queue, and views of its state (start with queue_health). No role '
  'has any grant in it.';
comment on schema batchgen_api is 'Functions behind the thin ones in public. Not exposed by the API.';

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

create table batchgen.failures (
  generation_id uuid primary key references public.image_generations (id) on delete cascade,
  code text not null,
  failed_at timestamptz not null default now()
);
create index failures_by_time on batchgen.failures (failed_at);

alter table batchgen.failures enable row level security;
create policy "Nobody" on batchgen.failures for all to public using (false);
revoke all on batchgen.failures from public, anon, authenticated, service_role;

comment on table batchgen.failures is
  'Stable error codes of failed items; the message for people is image_generations.error_message.';
comment on column batchgen.failures.generation_id is 'The failed item.';
comment on column batchgen.failures.code is
  'Error code for programs: timeout, crashed, cancelled, blocked_by_policy and so on.';
comment on column batchgen.failures.failed_at is 'When the item failed.';

create table batchgen.generation_tags (
  generation_id uuid not null references public.image_generations (id) on delete cascade,
  name text not null,
  primary key (generation_id, name)
);

alter table batchgen.generation_tags enable row level security;
create policy "Nobody" on batchgen.generation_tags for all to public using (false);
revoke all on batchgen.generation_tags from public, anon, authenticated, service_role;

comment on table batchgen.generation_tags is 'Tags that a request asked for; put on the picture once it exists.';
comment on column batchgen.generation_tags.generation_id is 'The item.';
comment on column batchgen.generation_tags.name is 'The tag, trimmed and in lower case.';

-- Models that the app knows, with their inputs at Replicate. docs/models.md says where each row was checked.
create table batchgen.known_models (
  provider_model text primary key,
  display_name text not null,
  provider text not null,
  provider_version text,
  price_usd numeric(12, 6) not null,
  estimated_seconds double precision not null,
  default_steps integer,
  default_guidance_scale double precision,
  is_checked boolean not null,
  inputs jsonb not null
);

alter table batchgen.known_models enable row level security;
create policy "Nobody" on batchgen.known_models for all to public using (false);
revoke all on batchgen.known_models from public, anon, authenticated, service_role;

comment on table batchgen.known_models is
  'Models that come with batchgen, with all that an order needs; new projects get them switched off.';
comment on column batchgen.known_models.provider_model is
  'The model''s id at its provider; also models.name and models.replicate_id.';
comment on column batchgen.known_models.display_name is 'Name shown to users.';
comment on column batchgen.known_models.provider is 'Name of the provider, as workers use it.';
comment on column batchgen.known_models.provider_version is
  'The version that was checked; empty means the official version.';
comment on column batchgen.known_models.price_usd is 'Price of one picture of about a megapixel, in US dollars.';
comment on column batchgen.known_models.estimated_seconds is 'Usual time to make a picture, in seconds.';
comment on column batchgen.known_models.default_steps is 'Steps if a request names none.';
comment on column batchgen.known_models.default_guidance_scale is 'Guidance scale if a request names none.';
comment on column batchgen.known_models.is_checked is
  'True if names and ranges of all inputs were compared with the provider''s own schema.';
comment on column batchgen.known_models.inputs is 'As model_providers.inputs.';

insert into batchgen.known_models (
  display_name, provider, provider_model, provider_version, price_usd, estimated_seconds, default_steps,
  default_guidance_scale, is_checked, inputs
) values
  (
    'Flux Schnell', 'replicate', 'black-forest-labs/flux-schnell', null, 0.003, 2, 4, null, true,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 4},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"],
        "area": {"name": "megapixels", "choices": {"0.25": 262144, "1": 1048576}}},
      "fixed": {"num_outputs": 1, "output_format": "webp", "output_quality": 90}}'
  ),
  (
    'Flux Dev', 'replicate', 'black-forest-labs/flux-dev', null, 0.025, 6, 28, 3, false,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 50},
      "guidance_scale": {"name": "guidance", "min": 0, "max": 10},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"],
        "area": {"name": "megapixels", "choices": {"0.25": 262144, "1": 1048576}}},
      "fixed": {"num_outputs": 1, "output_format": "webp", "output_quality": 90}}'
  ),
  (
    'Flux 1.1 Pro', 'replicate', 'black-forest-labs/flux-1.1-pro', null, 0.04, 6, null, null, true,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 32, "min": 256, "max": 1440},
      "fixed": {"aspect_ratio": "custom", "output_format": "webp", "output_quality": 90, "safety_tolerance": 2}}'
  ),
  (
    'SDXL', 'replicate', 'stability-ai/sdxl', '7762fd07cf82c948538e41f63f77d685e02b063e37e496e96eefd46c929f9bdc',
    0.0063, 8, 30, 7.5, false,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 100},
      "guidance_scale": {"name": "guidance_scale", "min": 1, "max": 50},
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 512, "max": 1536},
      "fixed": {"num_outputs": 1, "refine": "no_refiner", "scheduler": "K_EULER"}}'
  ),
  (
    'SDXL Lightning', 'replicate', 'bytedance/sdxl-lightning-4step',
    '5599ed30703defd1d160a25a63321b4dec97101d98b4674bcc56e41f62f35637', 0.002, 2, null, null, true,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "fixed": 4},
      "guidance_scale": {"name": "guidance_scale", "fixed": 0},
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 256, "max": 1280},
      "fixed": {"num_outputs": 1, "scheduler": "K_EULER"}}'
  ),
  (
    'Stable Diffusion 3.5 Large', 'replicate', 'stability-ai/stable-diffusion-3.5-large', null,
    0.065, 8, null, 5, true,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "guidance_scale": {"name": "cfg", "min": 1, "max": 10},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "9:16", "9:21"]},
      "fixed": {"output_format": "webp"}}'
  ),
  (
    'Ideogram V3 Turbo', 'replicate', 'ideogram-ai/ideogram-v3-turbo', null, 0.03, 7, null, null, false,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:3", "3:1", "1:2", "2:1", "9:16", "16:9", "10:16", "16:10", "2:3", "3:2", "3:4", "4:3", "4:5",
          "5:4", "1:1"]}}'
  ),
  (
    'Imagen 4 Fast', 'replicate', 'google/imagen-4-fast', null, 0.02, 5, null, null, false,
    '{"prompt": "prompt",
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio", "choices": ["1:1", "9:16", "16:9", "3:4", "4:3"]},
      "fixed": {"output_format": "jpg"}}'
  ),
  (
    'Qwen Image', 'replicate', 'qwen/qwen-image', null, 0.025, 8, 30, 3, false,
    '{"prompt": "prompt",
      "negative_prompt": "negative_prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "steps": {"name": "num_inference_steps", "min": 1, "max": 50},
      "guidance_scale": {"name": "guidance", "min": 0, "max": 10},
      "size": {"kind": "aspect_ratio", "name": "aspect_ratio",
        "choices": ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3"]}}'
  ),
  (
    'SeeDream 3', 'replicate', 'bytedance/seedream-3', null, 0.03, 4, null, 2.5, true,
    '{"prompt": "prompt",
      "seed": {"name": "seed", "max": 2147483647},
      "guidance_scale": {"name": "guidance_scale", "min": 1, "max": 10},
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 512, "max": 2048},
      "fixed": {"aspect_ratio": "custom"}}'
  ),
  (
    'SeeDream 4', 'replicate', 'bytedance/seedream-4', null, 0.03, 12, null, null, true,
    '{"prompt": "prompt",
      "size": {"kind": "width_height", "width": "width", "height": "height",
        "multiple_of": 8, "min": 1024, "max": 4096},
      "fixed": {"size": "custom", "sequential_image_generation": "disabled", "max_images": 1}}'
  ),
  (
    'Recraft V3', 'replicate', 'recraft-ai/recraft-v3', null, 0.04, 8, null, null, false,
    '{"prompt": "prompt",
      "size": {"kind": "choices", "name": "size",
        "choices": ["1024x1024", "1365x1024", "1024x1365", "1536x1024", "1024x1536", "1820x1024", "1024x1820",
          "2048x1024", "1024x2048", "1434x1024", "1024x1434", "1280x1024", "1024x1280", "1024x1707"]}}'
  );

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

-- Where and how a model runs, read at each claim. Adding a model, or moving it to another provider, is one statement on
-- the view batchgen.models and takes effect without a restart.
create table batchgen.model_providers (
  model_id uuid primary key references public.models (id) on delete cascade,
  provider text not null constraint provider_is_named check (provider <> ''),
  provider_model text,
  provider_version text,
  inputs jsonb,
  price_usd numeric(12, 6),
  estimated_seconds double precision,
  constraint inputs_name_the_prompt check (
    inputs is null
    or (jsonb_typeof(inputs) = 'object' and jsonb_typeof(inputs -> 'prompt') is not distinct from 'string')
  ),
  constraint texts_are_bounded check (
    length(provider) <= 200 and length(provider_model) <= 500 and length(provider_version) <= 500
    and pg_column_size(inputs) <= 100000
  ),
  constraint price_usd_in_range check (price_usd between 0 and 1000),
  constraint estimated_seconds_in_range check (estimated_seconds between 0 and 86400)
);

alter table batchgen.model_providers enable row level security;
create policy "Nobody" on batchgen.model_providers for all to public using (false);
revoke all on batchgen.model_providers from public, anon, authenticated, service_role;

comment on table batchgen.model_providers is
  'Which provider runs a model. A model without a row runs at the provider offline.';
comment on column batchgen.model_providers.model_id is 'The model.';
comment on column batchgen.model_providers.provider is 'Name of the provider, as workers use it.';
comment on column batchgen.model_providers.provider_model is
  'The model''s id at the provider; empty means models.replicate_id.';
comment on column batchgen.model_providers.provider_version is
  'Version at the provider if a request names none; empty means the official version.';
comment on column batchgen.model_providers.inputs is 'Names and ranges of the model''s inputs (docs/models.md).';
comment on column batchgen.model_providers.price_usd is
  'Price of one picture, in US dollars; empty means models.cost_per_generation.';
comment on column batchgen.model_providers.estimated_seconds is
  'Usual time to make a picture, in seconds; empty means models.estimated_time_seconds.';

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

-- The queue: a private side table with one row per item that waits or runs. Leases, flags and due times are here, so
-- that image_generations is written once when an item starts and once when it ends.
--
-- Locks. Deleting a batch locks its own row and then its items (the foreign key's SET NULL); an edit by hand locks
-- items and then, in a trigger, their batch. So that a worker's call blocks neither, it locks batches first, then items
-- without waiting for them (batchgen.lock_items), then queue rows, then rows of orders and of the outbox, and providers
-- and breakers last of all. Claims, the return of expired leases and renewals skip locked rows (SKIP LOCKED) and never
-- wait.

create type batchgen.queue_state as enum ('delayed', 'parked', 'waiting', 'running');

create table batchgen.queue (
  generation_id uuid primary key references public.image_generations (id) on delete cascade,
  user_id uuid not null,
  priority integer not null,
  created_at timestamptz not null,
  batch_index integer not null,
  model_id uuid not null default '00000000-0000-0000-0000-000000000000',
  state batchgen.queue_state not null default 'waiting',
  due_at timestamptz not null default now(),
  ready_rank integer,
  lease_id uuid,
  lease_expires_at timestamptz,
  worker text,
  started_at timestamptz,
  cancel_requested boolean not null default false,
  crash_count integer not null default 0,
  lone_crash_count integer not null default 0,
  is_suspect boolean not null default false,
  ran_alone boolean not null default false,
  wait_count integer not null default 0,
  provider text,
  provider_job_id text,
  order_key uuid,
  fault_code text,
  order_over boolean,
  was_run boolean not null default false,
  is_held boolean not null default false,
  had_picture boolean not null default false,
  constraint running_means_leased check ((state = 'running') = (lease_id is not null)),
  constraint a_lease_is_whole check (
    (lease_id is null) = (lease_expires_at is null)
    and (lease_id is null) = (worker is null)
    and (lease_id is null) = (started_at is null)
  ),
  constraint only_waiting_items_are_ready check (
    ready_rank is null or (state = 'waiting' and ready_rank > 0 and not is_suspect)
  ),
  constraint a_provider_job_names_its_provider check ((provider is null) = (provider_job_id is null)),
-- These bounds keep claims, waits and views free of overflow, whatever is written.
  constraint priority_in_range check (priority between -1000000000 and 1000000000),
  constraint counts_in_range check (
    crash_count between 0 and 1000000000 and lone_crash_count between 0 and 1000000000
    and wait_count between 0 and 1000000000
  ),
  constraint times_in_range check (
    due_at between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
    and lease_expires_at between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
    and started_at between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
  ),
  constraint provider_job_is_bounded check (length(provider) <= 200 and length(provider_job_id) <= 10000)
) with (fillfactor = 80, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.02);

-- A user's waiting rows in claim order: the first few cost one descent of the index.
create index queue_of_a_user on batchgen.queue (user_id, priority desc, created_at, batch_index, generation_id)
where state = 'waiting' and not is_suspect;
-- The few that run alone; they carry no ready rank.
create index queue_suspects on batchgen.queue (state, priority desc, created_at, batch_index, generation_id)
where is_suspect;
create index queue_running_alone on batchgen.queue (worker) where ran_alone;
-- All that a claim may take, in the order in which it takes them: small, however many items wait.
-- The two conditions are equivalent but written differently, so that each query can use only its own index: with
-- statistics from an idle hour the planner would take either for empty, and read and sort all ready rows at each claim.
create index queue_ready on batchgen.queue (priority desc, ready_rank, created_at, batch_index, generation_id)
where state = 'waiting' and ready_rank is not null;
create index queue_ready_of_a_user on batchgen.queue (user_id) where ready_rank > 0;
-- There are at most max_parallel_global running items: this finds all of them, and each lease among them.
create index queue_running on batchgen.queue (user_id) where state = 'running';
create index queue_due on batchgen.queue (due_at) where state = 'delayed';
create index queue_parked on batchgen.queue (model_id, priority desc, created_at, batch_index, generation_id)
where state = 'parked';
-- The few that have ordered and do not run: they try first whether a model works again.
create index queue_parked_orders on batchgen.queue (model_id, priority desc, created_at, batch_index, generation_id)
where state = 'parked' and order_key is not null;
create index queue_waiting_orders on batchgen.queue (model_id, priority desc, created_at, batch_index, generation_id)
where state = 'waiting' and order_key is not null;
-- Beside queue_of_a_user, which has the rows that wait for a slot.
create index queue_held_back_of_a_user on batchgen.queue (user_id) where state in ('delayed', 'parked');

alter table batchgen.queue enable row level security;
create policy "Nobody" on batchgen.queue for all to public using (false);
revoke all on batchgen.queue from public, anon, authenticated, service_role;

comment on table batchgen.queue is 'One row per item that waits or runs; deleted when the item ends.';
comment on column batchgen.queue.generation_id is 'The item. To change it, edit image_generations; this row follows.';
comment on column batchgen.queue.is_held is
  'True if the credit ledger has a hold for the item.';
comment on column batchgen.queue.user_id is 'The user whose parallel limit the item counts against.';
comment on column batchgen.queue.priority is 'The item''s priority; higher runs first.';
comment on column batchgen.queue.created_at is 'When the item was submitted; earlier runs first.';
comment on column batchgen.queue.batch_index is
  'The item''s position in its batch; lower runs first among items submitted together.';
comment on column batchgen.queue.model_id is
  'The model whose provider and breaker apply; the zero UUID if the item names no model.';
comment on column batchgen.queue.state is
  'delayed: due later; parked: due, but its provider or model is paused; waiting: due now; running: leased to a '
  'worker.';
comment on column batchgen.queue.due_at is 'Earliest start. Once it has passed: since when the item waits.';
comment on column batchgen.queue.ready_rank is
  'Set on rows that a claim may take: n if the row would be its user''s n-th running item. Null on all others.';
comment on column batchgen.queue.lease_id is 'Minted by the claim; every write of a worker names it.';
comment on column batchgen.queue.lease_expires_at is
  'After this time, by the database''s clock, any worker may take over the item.';
comment on column batchgen.queue.worker is 'The worker that runs the item.';
comment on column batchgen.queue.started_at is 'When the current attempt began.';
comment on column batchgen.queue.cancel_requested is
  'True if the worker should stop the item; it learns this at its next renewal.';
comment on column batchgen.queue.crash_count is 'Number of expired leases. Counted apart from retries.';
comment on column batchgen.queue.lone_crash_count is
  'Number of expired leases whose worker ran nothing else: crashes that the item itself caused.';
comment on column batchgen.queue.is_suspect is
  'True if a worker died while it ran the item: the item runs alone until an attempt has ended.';
comment on column batchgen.queue.ran_alone is 'True if the worker has run nothing else since it took the item.';
comment on column batchgen.queue.wait_count is
  'Number of consecutive waits that a provider asked for. They use up no attempt; each wait is longer.';
comment on column batchgen.queue.provider is 'Provider that runs the job provider_job_id.';
comment on column batchgen.queue.provider_job_id is
  'The provider''s id of a job that may be running or paid for: resumed, never ordered again.';
comment on column batchgen.queue.order_key is 'The order whose outcome is not known yet; its row is in orders.';
comment on column batchgen.queue.fault_code is 'Error code of the failure that ends the current lease.';
comment on column batchgen.queue.order_over is
  'True if that failure also ended the order: the next attempt then orders again.';
comment on column batchgen.queue.was_run is 'True if an attempt has ended without a picture: it may have left a file.';
comment on column batchgen.queue.had_picture is
  'True if the item was completed before: caches may have its file, so its new files get other names.';

create table batchgen.reopened_batches (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  reopened_at timestamptz not null default clock_timestamp()
);

alter table batchgen.reopened_batches enable row level security;
create policy "Nobody" on batchgen.reopened_batches for all to public using (false);
revoke all on batchgen.reopened_batches from public, anon, authenticated, service_role;

comment on table batchgen.reopened_batches is 'Ended batches whose items were queued again.';
comment on column batchgen.reopened_batches.batch_id is 'The batch.';
comment on column batchgen.reopened_batches.reopened_at is 'When it was last reopened.';

-- One item of a create_batch request. Not a table: functions pass such rows to each other.
create type batchgen.requested_item as (
  batch_index integer, prompt text, negative_prompt text, seed bigint, tags text[]
);

-- A create_batch request that was read and checked: the batch, without an id, its items, and the seed of a sample.
create type batchgen.requested_batch as (
  batch public.batch_generations, items batchgen.requested_item[], sample_seed bigint
);

create table batchgen.requests (
  user_id uuid not null references auth.users (id) on delete cascade,
  client_key text not null,
  body_hash bytea not null,
  batch_id uuid references public.batch_generations (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (user_id, client_key)
);
create index requests_batch on batchgen.requests (batch_id);

alter table batchgen.requests enable row level security;
create policy "Nobody" on batchgen.requests for all to public using (false);
revoke all on batchgen.requests from public, anon, authenticated, service_role;

comment on table batchgen.requests is 'Batches by client_key: a repeated request returns the same batch.';
comment on column batchgen.requests.user_id is 'Sender of the request.';
comment on column batchgen.requests.client_key is 'Key that the sender gave the request.';
comment on column batchgen.requests.body_hash is 'Hash of the request: the same key with another body is refused.';
comment on column batchgen.requests.batch_id is 'The batch that the request created.';
comment on column batchgen.requests.created_at is 'When the request was accepted.';

create table batchgen.settings (
  id boolean primary key default true constraint settings_has_one_row check (id),
  max_parallel_per_user integer not null default 3
    constraint max_parallel_per_user_in_range check (max_parallel_per_user between 1 and 100000),
  max_parallel_global integer not null default 20
    constraint max_parallel_global_in_range check (max_parallel_global between 1 and 100000),
  max_retries integer not null default 3 constraint max_retries_in_range check (max_retries between 0 and 20),
  retry_delays_seconds double precision[] not null default '{5,10,30}' constraint retry_delays_seconds_in_range check (
    cardinality(retry_delays_seconds) between 1 and 20
    and array_ndims(retry_delays_seconds) = 1 and array_lower(retry_delays_seconds, 1) = 1
    and array_position(retry_delays_seconds, null) is null
    and 0 <= all (retry_delays_seconds) and 86400 >= all (retry_delays_seconds)
  ),
  max_crashes integer not null default 3 constraint max_crashes_in_range check (max_crashes between 1 and 20),
  min_batch_size integer not null default 2
    constraint min_batch_size_in_range check (min_batch_size between 1 and max_batch_size),
  max_batch_size integer not null default 10
    constraint max_batch_size_in_range check (max_batch_size between 1 and 100),
  max_prompt_characters integer not null default 4000
    constraint max_prompt_characters_in_range check (max_prompt_characters between 1 and 100000),
  max_guidance_scale double precision not null default 30
    constraint max_guidance_scale_in_range check (max_guidance_scale between 0 and 1000),
  export_hours integer not null default 24 constraint export_hours_in_range check (export_hours between 1 and 720),
  exports_per_day integer not null default 10
    constraint exports_per_day_in_range check (exports_per_day between 0 and 10000),
  export_bytes_per_day bigint not null default 1073741824
    constraint export_bytes_per_day_in_range check (export_bytes_per_day between 0 and 1000000000000000),
  export_part_bytes bigint not null default 48000000
    constraint export_part_bytes_in_range check (export_part_bytes between 1000000 and 50000000000),
  breaker_failures integer not null default 5
    constraint breaker_failures_in_range check (breaker_failures between 1 and 1000),
  breaker_open_seconds double precision not null default 60
    constraint breaker_open_seconds_in_range check (breaker_open_seconds between 0 and 86400),
  suspect_turn_seconds double precision not null default 10
    constraint suspect_turn_seconds_in_range check (suspect_turn_seconds between 0 and 3600),
  worker_silence_seconds double precision not null default 30
    constraint worker_silence_seconds_in_range check (worker_silence_seconds between 5 and 86400),
  updated_at timestamptz not null default now(),
  image_retention_days integer
    constraint image_retention_days_in_range check (image_retention_days between 1 and 36500),
  trash_days integer not null default 7 constraint trash_days_in_range check (trash_days between 0 and 3650),
  max_waiting_per_user integer not null default 100
    constraint max_waiting_per_user_in_range check (max_waiting_per_user between 1 and 1000000),
  default_daily_limit integer not null default 5000
    constraint default_daily_limit_in_range check (default_daily_limit between 0 and 1000000000),
  default_hourly_limit integer not null default 1000
    constraint default_hourly_limit_in_range check (default_hourly_limit between 0 and 1000000000),
  pictures text not null default 'public' constraint pictures_is_known check (pictures in ('public', 'private')),
  credits boolean not null default false,
  monthly_credits numeric(18, 6) not null default 0
    constraint monthly_credits_in_range check (monthly_credits between 0 and 1000000000),
  broadcast_changes boolean not null default true,
  max_schedules_per_user integer not null default 20
    constraint max_schedules_per_user_in_range check (max_schedules_per_user between 0 and 10000),
  min_schedule_seconds integer not null default 300
    constraint min_schedule_seconds_in_range check (min_schedule_seconds between 60 and 86400),
  schedule_grace_seconds integer not null default 600
    constraint schedule_grace_seconds_in_range check (schedule_grace_seconds between 0 and 86400),
  max_missed_runs integer not null default 100
    constraint max_missed_runs_in_range check (max_missed_runs between 1 and 1000),
  missed_run_days integer not null default 7
    constraint missed_run_days_in_range check (missed_run_days between 1 and 365)
);

alter table batchgen.settings enable row level security;
create policy "Nobody" on batchgen.settings for all to public using (false);
revoke all on batchgen.settings from public, anon, authenticated, service_role;

insert into batchgen.settings default values;

comment on table batchgen.settings is
  'Limits for all workers and clients. There is one row; edit it in place. A change takes effect at the next claim.';
comment on column batchgen.settings.id is 'Always true: there is one row.';
comment on column batchgen.settings.max_parallel_per_user is 'Maximum items of one user that run at once.';
comment on column batchgen.settings.max_parallel_global is 'Maximum items that run at once in all.';
comment on column batchgen.settings.max_retries is 'Retries of a failed attempt before the item fails.';
comment on column batchgen.settings.retry_delays_seconds is
  'Seconds before the first, second, … retry; the last value holds for all further retries.';
comment on column batchgen.settings.max_crashes is
  'Expired leases (dead workers) before the item fails with code crashed, counting only those of workers that ran '
  'nothing else.';
comment on column batchgen.settings.min_batch_size is 'Minimum prompts per batch.';
comment on column batchgen.settings.max_batch_size is 'Maximum prompts per batch.';
comment on column batchgen.settings.max_prompt_characters is
  'Maximum length of a prompt or negative prompt, in characters.';
comment on column batchgen.settings.max_guidance_scale is 'Maximum guidance scale of a request.';
comment on column batchgen.settings.export_hours is 'Hours for which the files of an export can be downloaded.';
comment on column batchgen.settings.exports_per_day is 'Maximum exports that a user may ask for in 24 hours.';
comment on column batchgen.settings.export_bytes_per_day is
  'Maximum bytes of pictures in the exports that a user may ask for in 24 hours.';
comment on column batchgen.settings.export_part_bytes is
  'Maximum bytes of one ZIP file of an export. Storage must take files of this size.';
comment on column batchgen.settings.breaker_failures is
  'Number of different items of a model that must fail through the provider''s fault, with no success in between, to '
  'open its breaker.';
comment on column batchgen.settings.breaker_open_seconds is
  'How long an open breaker starts nothing of its model; then one item is tried.';
comment on column batchgen.settings.suspect_turn_seconds is
  'Where suspects (items that run alone after a worker died) wait beside others: how long the others go first, '
  'divided by the number of workers.';
comment on column batchgen.settings.worker_silence_seconds is
  'Seconds without a call after which a worker counts as gone, and waiting items are reported as waiting for a worker.';
comment on column batchgen.settings.updated_at is 'When a setting was last changed.';
comment on column batchgen.settings.image_retention_days is
  'Days after which pictures of batches that nobody saved or marked as a favourite are deleted; empty: never.';
comment on column batchgen.settings.trash_days is
  'Days after which pictures and batches in the trash are deleted.';
comment on column batchgen.settings.max_waiting_per_user is
  'Maximum waiting items per user; running ones do not count.';
comment on column batchgen.settings.default_daily_limit is
  'Maximum items that a user may submit per day, unless user_rate_limits sets another limit.';
comment on column batchgen.settings.default_hourly_limit is
  'Maximum items that a user may submit per hour, unless user_rate_limits sets another limit.';
comment on column batchgen.settings.credits is
  'True: users pay for pictures with credits. Items that are queued already when this changes end as they began, with '
  'or without a hold.';
comment on column batchgen.settings.monthly_credits is
  'Credits that each user gets per month while credits is true, unless credit_terms sets another number.';
comment on column batchgen.settings.pictures is
  'public: anyone who knows the address of a picture can see it. private: only its owner, by links that expire. Switch '
  'with batchgen storage public or private.';
comment on column batchgen.settings.broadcast_changes is
  'Whether changes of batches are also sent to their owners and to workers by Realtime broadcast.';
comment on column batchgen.settings.max_schedules_per_user is 'Maximum schedules that a user may have.';
comment on column batchgen.settings.min_schedule_seconds is 'Shortest time between two runs of a schedule.';
comment on column batchgen.settings.schedule_grace_seconds is
  'How late a slot of a schedule may run before it counts as missed.';
comment on column batchgen.settings.max_missed_runs is
  'Maximum missed slots that a schedule with the rule all runs; older ones pass.';
comment on column batchgen.settings.missed_run_days is
  'Days after which a missed or refused slot of a schedule is not run any more.';

-- The outbox: files to delete. Workers drain it through the Storage API, the only way to remove files. A row is added
-- in the transaction that deletes rows of images, whoever deletes them, so a picture's row and its file both stay or
-- both go, with one exception: a file is kept while a row of images names its path, or while a waiting or running item
-- will.
create table batchgen.storage_deletions (
  id bigint generated always as identity primary key,
  bucket_id text not null default 'generated-images',
  path text not null,
  generation_id uuid generated always as (
    substring(path from '^[^/]+/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[^/]*)?$')::uuid
  ) stored,
  due_at timestamptz not null default now(),
  attempts integer not null default 0
    constraint deletion_attempts_in_range check (attempts between 0 and 1000000000),
  lease_id uuid,
  lease_expires_at timestamptz,
  worker text,
  created_at timestamptz not null default now(),
  constraint a_file_is_deleted_once unique (bucket_id, path),
  constraint a_lease_is_whole check (
    (lease_id is null) = (lease_expires_at is null) and (lease_id is null) = (worker is null)
  )
);
create index storage_deletions_due on batchgen.storage_deletions (due_at, id);
create index storage_deletions_generation on batchgen.storage_deletions (generation_id);
create unique index storage_deletions_lease on batchgen.storage_deletions (lease_id) where lease_id is not null;

alter table batchgen.storage_deletions enable row level security;
create policy "Nobody" on batchgen.storage_deletions for all to public using (false);
revoke all on batchgen.storage_deletions from public, anon, authenticated, service_role;

comment on table batchgen.storage_deletions is
  'Outbox: files that a worker will delete; a row goes when its file is gone.';
comment on column batchgen.storage_deletions.id is 'Surrogate key.';
comment on column batchgen.storage_deletions.bucket_id is 'Bucket of the file.';
comment on column batchgen.storage_deletions.path is 'Path of the file in its bucket.';
comment on column batchgen.storage_deletions.generation_id is
  'Item whose picture has this path ({user_id}/{generation_id}.{format}, in the folder of its owner); empty for other '
  'paths. The item may be gone.';
comment on column batchgen.storage_deletions.due_at is
  'Earliest time to take the row; moves later after each failed attempt.';
comment on column batchgen.storage_deletions.attempts is 'How often a worker took the row.';
comment on column batchgen.storage_deletions.lease_id is 'Lease of the worker that deletes the file.';
comment on column batchgen.storage_deletions.lease_expires_at is 'After this, another worker may take the row.';
comment on column batchgen.storage_deletions.worker is 'The worker that deletes the file.';
comment on column batchgen.storage_deletions.created_at is 'When the row of images was deleted.';

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

create table batchgen.turns (
  id boolean primary key default true constraint turns_has_one_row check (id),
  suspects_at timestamptz not null default '-infinity',
  suspects_in_a_row integer not null default 0
    constraint suspects_in_a_row_in_range check (suspects_in_a_row between 0 and 1)
);

alter table batchgen.turns enable row level security;
create policy "Nobody" on batchgen.turns for all to public using (false);
revoke all on batchgen.turns from public, anon, authenticated, service_role;

insert into batchgen.turns default values;

comment on table batchgen.turns is 'Turns between suspects and other waiting items: one row, written by claims.';
comment on column batchgen.turns.id is 'Always true: there is one row.';
comment on column batchgen.turns.suspects_at is
  'From then on a suspect goes first. Infinity: after the next claim of others plus settings.suspect_turn_seconds.';
comment on column batchgen.turns.suspects_in_a_row is 'Suspects claimed in their current turn.';

-- Workers: one row each, written by calls that a worker makes anyway (claims and renewals), at most every three
-- seconds, so that an idle worker costs one small update per poll.
create table batchgen.workers (
  worker text primary key,
  first_seen timestamptz not null default clock_timestamp(),
  last_seen timestamptz not null default clock_timestamp(),
  lease_seconds integer not null constraint worker_lease_seconds_in_range check (lease_seconds between 1 and 86400),
  version text,
  providers text[],
  drains_until timestamptz,
  constraint worker_times_in_range check (
    first_seen between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
    and last_seen between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
  )
-- No index but the key, and free space on each page: updates are HOT, and the next one prunes the old row versions.
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

alter table batchgen.workers enable row level security;
create policy "Nobody" on batchgen.workers for all to public using (false);
revoke all on batchgen.workers from public, anon, authenticated, service_role;

comment on table batchgen.workers is
  'Workers that called within the last day. A worker that has ended keeps its row until then.';
comment on column batchgen.workers.worker is 'Name of the worker, as in queue.worker.';
comment on column batchgen.workers.first_seen is 'When it first called.';
comment on column batchgen.workers.last_seen is 'When it last claimed or renewed, to within three seconds.';
comment on column batchgen.workers.lease_seconds is
  'Length of its leases in seconds; it renews them after a third of that, at the latest.';
comment on column batchgen.workers.version is 'Its version of batchgen, if it reports one.';
comment on column batchgen.workers.providers is 'Providers that it can order from, if it reports them.';
comment on column batchgen.workers.drains_until is
  'It is given no items until its own have ended, so that it can take one that runs alone; until this time at the '
  'latest.';

-- The trash: pictures and batches that their owners threw away and can take back for settings.trash_days. A picture in
-- it has images.archived_at, the app's own archive, which is also when it got there. Pictures that the app archives are
-- not in the trash, and never deleted for it.
--
-- Locks: batches, items, rows of images, rows of the trash.
create table batchgen.trashed_images (
  image_id uuid primary key,
  user_id uuid,
  was_archived_at timestamptz
);
create index trashed_images_of_a_user on batchgen.trashed_images (user_id);

alter table batchgen.trashed_images enable row level security;
create policy "Nobody" on batchgen.trashed_images for all to public using (false);
revoke all on batchgen.trashed_images from public, anon, authenticated, service_role;

comment on table batchgen.trashed_images is 'Pictures in the trash, since images.archived_at.';
comment on column batchgen.trashed_images.image_id is
  'The picture. Not a foreign key: that would change how a TRUNCATE of images is refused.';
comment on column batchgen.trashed_images.user_id is 'Owner of the picture.';
comment on column batchgen.trashed_images.was_archived_at is
  'images.archived_at before the picture was thrown away; restored with it.';

create table batchgen.trashed_batches (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  user_id uuid,
  trashed_at timestamptz not null default clock_timestamp()
);
create index trashed_batches_of_a_user on batchgen.trashed_batches (user_id, trashed_at);

alter table batchgen.trashed_batches enable row level security;
create policy "Nobody" on batchgen.trashed_batches for all to public using (false);
revoke all on batchgen.trashed_batches from public, anon, authenticated, service_role;

comment on table batchgen.trashed_batches is
  'Batches in the trash, whose items have all ended. A batch that runs again leaves it.';
comment on column batchgen.trashed_batches.batch_id is 'The batch.';
comment on column batchgen.trashed_batches.user_id is 'Owner of the batch.';
comment on column batchgen.trashed_batches.trashed_at is 'When the batch was thrown away.';
