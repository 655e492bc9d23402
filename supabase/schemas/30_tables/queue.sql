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
