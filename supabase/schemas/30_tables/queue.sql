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
