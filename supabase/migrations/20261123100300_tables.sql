-- Two schemas of our own, which the API does not expose.
--
-- batchgen: tables, views and functions that nobody is granted anything on. batchgen_api: functions behind the thin
-- ones in public, which run as their caller: in it a caller may execute the named functions and nothing else.
create schema batchgen_api;
revoke all on schema batchgen_api from public;
grant usage on schema batchgen_api to authenticated, service_role;

comment on schema batchgen is
  'The batch worker''s own: settings, the queue, and views of how it is (queue_health first). Private: nobody is '
  'granted anything in it.';
comment on schema batchgen_api is 'Functions behind the thin ones in public. Not exposed by the API.';

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
  'Why an item failed, as a stable code; the sentence for people is image_generations.error_message.';
comment on column batchgen.failures.generation_id is 'The item that failed.';
comment on column batchgen.failures.code is
  'Why, as a word for programs: timeout, crashed, cancelled, blocked_by_policy and so on.';
comment on column batchgen.failures.failed_at is 'When it failed.';

create table batchgen.generation_tags (
  generation_id uuid not null references public.image_generations (id) on delete cascade,
  name text not null,
  primary key (generation_id, name)
);

alter table batchgen.generation_tags enable row level security;
create policy "Nobody" on batchgen.generation_tags for all to public using (false);
revoke all on batchgen.generation_tags from public, anon, authenticated, service_role;

comment on table batchgen.generation_tags is 'Tags that a request asked for; they go on the picture when it is there.';
comment on column batchgen.generation_tags.generation_id is 'The item.';
comment on column batchgen.generation_tags.name is 'The tag, trimmed and in lower case.';

-- The models that the app knows, as they are ordered at Replicate. docs/models.md says where each row was checked.
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
  'Models that come with batchgen, ready to be ordered; new projects get them switched off.';
comment on column batchgen.known_models.provider_model is
  'The model''s id at its provider; also models.name and models.replicate_id.';
comment on column batchgen.known_models.display_name is 'Name that users see.';
comment on column batchgen.known_models.provider is 'The provider, as workers name it.';
comment on column batchgen.known_models.provider_version is
  'The version that was checked; empty means the official one.';
comment on column batchgen.known_models.price_usd is 'Of one picture of about a megapixel, in US dollars.';
comment on column batchgen.known_models.estimated_seconds is 'How long a picture usually takes.';
comment on column batchgen.known_models.default_steps is 'Steps where a request names none.';
comment on column batchgen.known_models.default_guidance_scale is 'Guidance scale where a request names none.';
comment on column batchgen.known_models.is_checked is
  'Whether names and ranges of all inputs were compared with the provider''s own schema.';
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

-- Where and how a model is made: data of its row, read anew at each claim. Adding a model, or pointing it to another
-- provider, is one statement on the view batchgen.models and takes effect without a restart.
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
comment on column batchgen.model_providers.provider is 'The provider that runs it, as workers name it.';
comment on column batchgen.model_providers.provider_model is 'The model''s id there; empty means models.replicate_id.';
comment on column batchgen.model_providers.provider_version is
  'Its version there, where a request names none; empty means the official one.';
comment on column batchgen.model_providers.inputs is
  'What the model takes: names and ranges of its inputs (docs/models.md).';
comment on column batchgen.model_providers.price_usd is
  'Of one picture, in US dollars; empty means models.cost_per_generation.';
comment on column batchgen.model_providers.estimated_seconds is
  'How long a picture usually takes; empty means models.estimated_time_seconds.';

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

-- The queue: a private side table with one row per generation that waits or runs. Leases, marks and due times live
-- here, so that image_generations is written once when an item starts and once when it ends.
--
-- Locks. A deleted batch holds its own row and then reaches for its items (the foreign key's SET NULL); an edit by hand
-- holds its items and then, in a trigger, reaches for their batch. So that a worker's call stands in nobody's way, it
-- takes batches first, then items without waiting for them (batchgen.lock_items), then queue rows, then rows of orders
-- and of the outbox, and providers and breakers last of all. Claims, the return of expired leases and renewals take
-- only what is free (SKIP LOCKED) and never wait.

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
  job_over boolean,
  was_run boolean not null default false,
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
  -- With these no value here makes the arithmetic of claims, waits and views overflow, whoever wrote it.
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

-- A user's waiting rows in claim order: the first few are one descent away.
create index queue_of_a_user on batchgen.queue (user_id, priority desc, created_at, batch_index, generation_id)
where state = 'waiting' and not is_suspect;
-- The few that run alone; they carry no ready rank.
create index queue_suspects on batchgen.queue (state, priority desc, created_at, batch_index, generation_id)
where is_suspect;
create index queue_running_alone on batchgen.queue (worker) where ran_alone;
-- All that a claim may take, in the order in which it takes them: small, whatever waits.
-- The two conditions say the same in different words, so that each query can use its own index alone: with statistics
-- from an idle hour the planner would take either for empty, and read and sort every ready row at each claim.
create index queue_ready on batchgen.queue (priority desc, ready_rank, created_at, batch_index, generation_id)
where state = 'waiting' and ready_rank is not null;
create index queue_ready_of_a_user on batchgen.queue (user_id) where ready_rank > 0;
-- Running items are as few as max_parallel_global: this finds them all, and each lease among them.
create index queue_running on batchgen.queue (user_id) where state = 'running';
create index queue_due on batchgen.queue (due_at) where state = 'delayed';
create index queue_parked on batchgen.queue (model_id, priority desc, created_at, batch_index, generation_id)
where state = 'parked';
-- Beside queue_of_a_user, which has the rows that wait for a slot.
create index queue_held_back_of_a_user on batchgen.queue (user_id) where state in ('delayed', 'parked');

alter table batchgen.queue enable row level security;
create policy "Nobody" on batchgen.queue for all to public using (false);
revoke all on batchgen.queue from public, anon, authenticated, service_role;

comment on table batchgen.queue is 'One row per generation that waits or runs; gone when the generation is final.';
comment on column batchgen.queue.generation_id is 'The item. Change the item in image_generations; this row follows.';
comment on column batchgen.queue.user_id is 'Whose parallel limit the item counts against.';
comment on column batchgen.queue.priority is 'Higher runs first; the item''s.';
comment on column batchgen.queue.created_at is 'Earlier runs first; the item''s.';
comment on column batchgen.queue.batch_index is 'Lower runs first among items of one time; the item''s.';
comment on column batchgen.queue.model_id is
  'Whose provider and breaker hold for the item; zeros where it names no model.';
comment on column batchgen.queue.state is
  'delayed: due later; parked: due, but its provider or model is not to be asked now; waiting: due now; running: '
  'leased to a worker.';
comment on column batchgen.queue.due_at is 'Not before this time; where it is over, since when the item waits.';
comment on column batchgen.queue.ready_rank is
  'Set on the rows that a claim may take: the row would be its user''s n-th running item. Null on all others.';
comment on column batchgen.queue.lease_id is 'Minted by the claim; every write of a worker names it.';
comment on column batchgen.queue.lease_expires_at is
  'After this any worker may take the item over; by the database''s clock.';
comment on column batchgen.queue.worker is 'Who runs the item now.';
comment on column batchgen.queue.started_at is 'When this attempt began.';
comment on column batchgen.queue.cancel_requested is
  'The worker is to stop the item; it learns so when it next renews its lease.';
comment on column batchgen.queue.crash_count is 'How many leases expired. Counted apart from retries.';
comment on column batchgen.queue.lone_crash_count is
  'How many of them while their worker ran nothing else: those are the item''s own.';
comment on column batchgen.queue.is_suspect is
  'A worker died while it had the item: it runs alone until an attempt has ended.';
comment on column batchgen.queue.ran_alone is 'Whether the worker has had nothing else since it took the item.';
comment on column batchgen.queue.wait_count is
  'How often in a row it was told to wait, which uses up no attempt: each time for longer.';
comment on column batchgen.queue.provider is 'Where the job runs that provider_job_id names.';
comment on column batchgen.queue.provider_job_id is
  'The provider''s id of a job that may be running or paid for: resumed, never bought again.';
comment on column batchgen.queue.order_key is
  'The purchase for this item whose outcome is not known yet; its row is in orders.';
comment on column batchgen.queue.fault_code is 'Error code of the failure that ends the current lease.';
comment on column batchgen.queue.job_over is 'Whether its job has ended by that: then the next attempt orders anew.';
comment on column batchgen.queue.was_run is 'Whether an attempt has ended without a picture: it may have left a file.';

create table batchgen.reopened_batches (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  reopened_at timestamptz not null default clock_timestamp()
);

alter table batchgen.reopened_batches enable row level security;
create policy "Nobody" on batchgen.reopened_batches for all to public using (false);
revoke all on batchgen.reopened_batches from public, anon, authenticated, service_role;

comment on table batchgen.reopened_batches is 'Batches that had ended and whose items were queued again.';
comment on column batchgen.reopened_batches.batch_id is 'The batch.';
comment on column batchgen.reopened_batches.reopened_at is 'When that was, the last time.';

-- An item of a request to create_batch: what its prompt says. No table: create_batch_for hands such rows on.
create type batchgen.requested_item as (
  batch_index integer, prompt text, negative_prompt text, seed bigint, tags text[]
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

comment on table batchgen.requests is
  'Which client_key made which batch: sending a request again gives the same batch.';
comment on column batchgen.requests.user_id is 'Who sent the request.';
comment on column batchgen.requests.client_key is 'The key that its sender gave the request.';
comment on column batchgen.requests.body_hash is 'Hash of the request: the same key with another body is refused.';
comment on column batchgen.requests.batch_id is 'The batch that the request made.';
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
  max_waiting_per_user integer not null default 100
    constraint max_waiting_per_user_in_range check (max_waiting_per_user between 1 and 1000000),
  default_daily_limit integer not null default 5000
    constraint default_daily_limit_in_range check (default_daily_limit between 0 and 1000000000),
  default_hourly_limit integer not null default 1000
    constraint default_hourly_limit_in_range check (default_hourly_limit between 0 and 1000000000)
);

alter table batchgen.settings enable row level security;
create policy "Nobody" on batchgen.settings for all to public using (false);
revoke all on batchgen.settings from public, anon, authenticated, service_role;

insert into batchgen.settings default values;

comment on table batchgen.settings is
  'Limits that hold for all workers and clients: one row, edit it in place. A change takes effect at the next claim.';
comment on column batchgen.settings.id is 'Always true: there is one row.';
comment on column batchgen.settings.max_parallel_per_user is 'How many items of one user may run at once.';
comment on column batchgen.settings.max_parallel_global is 'How many items may run at once in all.';
comment on column batchgen.settings.max_retries is 'How often a failed attempt is tried again before the item fails.';
comment on column batchgen.settings.retry_delays_seconds is
  'Wait before the first, second, … retry; the last value serves all further ones.';
comment on column batchgen.settings.max_crashes is
  'How often an item''s lease may expire (its worker died) while that worker ran nothing else before the item fails '
  'with code crashed.';
comment on column batchgen.settings.min_batch_size is 'Fewest prompts of a batch.';
comment on column batchgen.settings.max_batch_size is 'Most prompts of a batch.';
comment on column batchgen.settings.max_prompt_characters is
  'Longest prompt, in characters; the same holds for negative prompts.';
comment on column batchgen.settings.max_guidance_scale is 'Highest guidance scale that a request may ask for.';
comment on column batchgen.settings.breaker_failures is
  'After provider faults of so many different items of a model, with no success between them, its breaker opens.';
comment on column batchgen.settings.breaker_open_seconds is
  'How long an open breaker lets nothing of its model start; then one item is tried.';
comment on column batchgen.settings.suspect_turn_seconds is
  'Where items that run alone since a worker died wait beside others: how long the others go first, divided among the '
  'workers.';
comment on column batchgen.settings.worker_silence_seconds is
  'A worker that has not called for so long counts as gone, and items that wait are said to wait for a worker.';
comment on column batchgen.settings.updated_at is 'When a setting was last changed.';
comment on column batchgen.settings.image_retention_days is
  'Pictures of batches that nobody saved or marked as a favourite are deleted after so many days; empty: never.';
comment on column batchgen.settings.max_waiting_per_user is
  'How many items of one user may wait; running ones do not count.';
comment on column batchgen.settings.default_daily_limit is
  'Most items that a user may put in within a day, where user_rate_limits says nothing else.';
comment on column batchgen.settings.default_hourly_limit is
  'Most items that a user may put in within an hour, where user_rate_limits says nothing else.';

-- Files that are to be deleted: an outbox that workers drain by the Storage API, since only that removes files. It is
-- fed where rows of images go, whoever deletes them, in that same transaction. So a picture's row and its file both
-- stay or both go, with one exception: while a row of images names a path, or an item that waits or runs will, its file
-- is kept.
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

comment on table batchgen.storage_deletions is 'Files to be deleted by a worker; a row goes when its file is gone.';
comment on column batchgen.storage_deletions.id is 'A number of no meaning.';
comment on column batchgen.storage_deletions.bucket_id is 'The bucket in which the file lies.';
comment on column batchgen.storage_deletions.path is 'Where the file lies in its bucket.';
comment on column batchgen.storage_deletions.generation_id is
  'Whose picture the path is made for, where it lies in the folder of that item''s owner '
  '({user_id}/{generation_id}.{format}); empty for other paths. The item may be gone.';
comment on column batchgen.storage_deletions.due_at is
  'Nobody takes it before this time: later after each attempt that came to nothing.';
comment on column batchgen.storage_deletions.attempts is 'How often a worker took it.';
comment on column batchgen.storage_deletions.lease_id is 'The right of a worker to delete the file now.';
comment on column batchgen.storage_deletions.lease_expires_at is 'After this another worker may take it.';
comment on column batchgen.storage_deletions.worker is 'Who deletes the file now.';
comment on column batchgen.storage_deletions.created_at is 'When the file''s row was deleted.';

create table batchgen.touched (
  id bigint generated always as identity primary key,
  user_id uuid not null
) with (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

alter table batchgen.touched enable row level security;
create policy "Nobody" on batchgen.touched for all to public using (false);
revoke all on batchgen.touched from public, anon, authenticated, service_role;

comment on table batchgen.touched is
  'Users whose queue changed since the last claim; the next claim repairs their ready ranks.';
comment on column batchgen.touched.id is 'A number of no meaning.';
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

comment on table batchgen.turns is 'Whose turn it is where suspects and other items wait: one row, written by claims.';
comment on column batchgen.turns.id is 'Always true: there is one row.';
comment on column batchgen.turns.suspects_at is
  'From when on a suspect goes first. Infinity: after the next claim of others, and settings.suspect_turn_seconds.';
comment on column batchgen.turns.suspects_in_a_row is 'How many suspects were claimed in this turn of theirs.';

-- Which workers there are: a row for each, written by calls that a worker makes anyway (claims and renewals), at most
-- every three seconds, so that an idle worker costs one small update per poll.
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
-- No index but the key, and room on each page: the updates are HOT, and the next one clears up after them.
) with (fillfactor = 50, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);

alter table batchgen.workers enable row level security;
create policy "Nobody" on batchgen.workers for all to public using (false);
revoke all on batchgen.workers from public, anon, authenticated, service_role;

comment on table batchgen.workers is
  'Workers that called within the last day. A worker that has ended keeps its row until then.';
comment on column batchgen.workers.worker is 'The worker''s name, as in queue.worker.';
comment on column batchgen.workers.first_seen is 'When it first called.';
comment on column batchgen.workers.last_seen is 'When it last claimed or renewed, to within three seconds.';
comment on column batchgen.workers.lease_seconds is
  'How long its leases are: it renews them at a third of that, at the latest.';
comment on column batchgen.workers.version is 'Its version of batchgen, where it tells.';
comment on column batchgen.workers.providers is 'The providers that it can order from, where it tells.';
comment on column batchgen.workers.drains_until is
  'It is given nothing until its items have ended, to take one that runs alone; at most until then.';
