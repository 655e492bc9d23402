-- The queue: a private side table with one row per generation that waits or runs. Leases, marks and due times live
-- here, so that image_generations is written once when an item starts and once when it ends.
--
-- Locks. A deleted batch holds its own row and then reaches for its items (the foreign key's SET NULL); an edit by hand
-- holds its items and then, in a trigger, reaches for their batch. So that a worker's call stands in nobody's way, it
-- takes batches first, then items without waiting for them (batchgen.lock_items), then queue rows. Claims, the return
-- of expired leases and renewals take only what is free (SKIP LOCKED) and never wait.

create table batchgen.settings (
  id boolean primary key default true constraint settings_has_one_row check (id),
  max_parallel_per_user integer not null default 3 constraint max_parallel_per_user_in_range check (max_parallel_per_user between 1 and 100000),
  max_parallel_global integer not null default 20 constraint max_parallel_global_in_range check (max_parallel_global between 1 and 100000),
  max_retries integer not null default 3 constraint max_retries_in_range check (max_retries between 0 and 20),
  retry_delays_seconds double precision[] not null default '{5,10,30}' constraint retry_delays_seconds_in_range check (
    cardinality(retry_delays_seconds) between 1 and 20
    and array_ndims(retry_delays_seconds) = 1 and array_lower(retry_delays_seconds, 1) = 1
    and array_position(retry_delays_seconds, null) is null
    and 0 <= all (retry_delays_seconds) and 86400 >= all (retry_delays_seconds)
  ),
  max_crashes integer not null default 3 constraint max_crashes_in_range check (max_crashes between 1 and 20),
  min_batch_size integer not null default 2 constraint min_batch_size_in_range check (min_batch_size between 1 and max_batch_size),
  max_batch_size integer not null default 10 constraint max_batch_size_in_range check (max_batch_size between 1 and 100),
  max_prompt_characters integer not null default 4000 constraint max_prompt_characters_in_range check (max_prompt_characters between 1 and 100000),
  max_guidance_scale double precision not null default 30 constraint max_guidance_scale_in_range check (max_guidance_scale between 0 and 1000),
  breaker_failures integer not null default 5 constraint breaker_failures_in_range check (breaker_failures between 1 and 1000),
  breaker_open_seconds double precision not null default 60 constraint breaker_open_seconds_in_range check (breaker_open_seconds between 0 and 86400),
  suspect_turn_seconds double precision not null default 10 constraint suspect_turn_seconds_in_range check (suspect_turn_seconds between 0 and 3600),
  worker_silence_seconds double precision not null default 30 constraint worker_silence_seconds_in_range check (worker_silence_seconds between 5 and 86400),
  updated_at timestamptz not null default now()
);
comment on table batchgen.settings is 'Limits that hold for all workers and clients: one row, edit it in place. A change takes effect at the next claim.';
comment on column batchgen.settings.max_parallel_per_user is 'How many items of one user may run at once.';
comment on column batchgen.settings.max_parallel_global is 'How many items may run at once in all.';
comment on column batchgen.settings.max_retries is 'How often a failed attempt is tried again before the item fails.';
comment on column batchgen.settings.retry_delays_seconds is 'Wait before the first, second, … retry; the last value serves all further ones.';
comment on column batchgen.settings.max_crashes is
  'How often an item''s lease may expire (its worker died) while that worker ran nothing else before the item fails with code crashed.';
comment on column batchgen.settings.min_batch_size is 'Fewest prompts of a batch.';
comment on column batchgen.settings.max_batch_size is 'Most prompts of a batch.';
comment on column batchgen.settings.max_prompt_characters is 'Longest prompt, in characters; the same holds for negative prompts.';
comment on column batchgen.settings.max_guidance_scale is 'Highest guidance scale that a request may ask for.';
comment on column batchgen.settings.breaker_failures is
  'After provider faults of so many different items of a model, with no success between them, its breaker opens.';
comment on column batchgen.settings.breaker_open_seconds is 'How long an open breaker lets nothing of its model start; then one item is tried.';
comment on column batchgen.settings.suspect_turn_seconds is
  'Where items that run alone since a worker died wait beside others: how long the others go first, divided among the workers.';
comment on column batchgen.settings.worker_silence_seconds is
  'A worker that has not called for so long counts as gone, and items that wait are said to wait for a worker.';
insert into batchgen.settings default values;

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
  constraint running_means_leased check ((state = 'running') = (lease_id is not null)),
  constraint a_lease_is_whole check (
    (lease_id is null) = (lease_expires_at is null)
    and (lease_id is null) = (worker is null)
    and (lease_id is null) = (started_at is null)
  ),
  constraint only_waiting_items_are_ready check (ready_rank is null or (state = 'waiting' and ready_rank > 0 and not is_suspect)),
  constraint a_provider_job_names_its_provider check ((provider is null) = (provider_job_id is null)),
  -- With these no value here makes the arithmetic of claims, waits and views overflow, whoever wrote it.
  constraint priority_in_range check (priority between -1000000000 and 1000000000),
  constraint counts_in_range check (
    crash_count between 0 and 1000000000 and lone_crash_count between 0 and 1000000000 and wait_count between 0 and 1000000000
  ),
  constraint times_in_range check (
    due_at between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
    and lease_expires_at between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
    and started_at between '2000-01-01 00:00+00' and '3000-01-01 00:00+00'
  ),
  constraint provider_job_is_bounded check (length(provider) <= 200 and length(provider_job_id) <= 10000)
) with (fillfactor = 80, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.02);
comment on table batchgen.queue is 'One row per generation that waits or runs; gone when the generation is final.';
comment on column batchgen.queue.user_id is 'Whose parallel limit the item counts against.';
comment on column batchgen.queue.model_id is 'Whose provider and breaker hold for the item; zeros where it names no model.';
comment on column batchgen.queue.state is
  'delayed: due later; parked: due, but its provider or model is not to be asked now; waiting: due now; running: leased to a worker.';
comment on column batchgen.queue.ready_rank is
  'Set on the rows that a claim may take: the row would be its user''s n-th running item. Null on all others.';
comment on column batchgen.queue.lease_id is 'Minted by the claim; every write of a worker names it.';
comment on column batchgen.queue.lease_expires_at is 'After this any worker may take the item over; by the database''s clock.';
comment on column batchgen.queue.crash_count is 'How many leases expired. Counted apart from retries.';
comment on column batchgen.queue.lone_crash_count is 'How many of them while their worker ran nothing else: those are the item''s own.';
comment on column batchgen.queue.is_suspect is 'A worker died while it had the item: it runs alone until an attempt has ended.';
comment on column batchgen.queue.wait_count is 'How often in a row it was told to wait, which uses up no attempt: each time for longer.';
comment on column batchgen.queue.ran_alone is 'Whether the worker has had nothing else since it took the item.';
comment on column batchgen.queue.provider_job_id is 'The provider''s id of a job that may be running or paid for: resumed, never bought again.';

-- A user's waiting rows in claim order: the first few are one descent away.
create index queue_of_a_user on batchgen.queue (user_id, priority desc, created_at, batch_index, generation_id)
where state = 'waiting' and not is_suspect;
-- The few that run alone; they carry no ready rank.
create index queue_suspects on batchgen.queue (state, priority desc, created_at, batch_index, generation_id) where is_suspect;
create index queue_running_alone on batchgen.queue (worker) where ran_alone;
-- All that a claim may take, in the order in which it takes them: small, whatever waits.
-- The two conditions say the same in different words, so that each query can use its own index alone: with statistics
-- from an idle hour the planner would take either for empty, and read and sort every ready row at each claim.
create index queue_ready on batchgen.queue (priority desc, ready_rank, created_at, batch_index, generation_id)
where state = 'waiting' and ready_rank is not null;
create index queue_ready_of_a_user on batchgen.queue (user_id) where ready_rank > 0;
create index queue_running on batchgen.queue (user_id) where state = 'running';
create index queue_lease_expiry on batchgen.queue (lease_expires_at) where state = 'running';
create index queue_due on batchgen.queue (due_at) where state = 'delayed';
create index queue_parked on batchgen.queue (model_id, priority desc, created_at, batch_index, generation_id) where state = 'parked';
create unique index queue_lease on batchgen.queue (lease_id) where lease_id is not null;

create table batchgen.touched (
  id bigint generated always as identity primary key,
  user_id uuid not null
) with (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0);
comment on table batchgen.touched is 'Users whose queue changed since the last claim; the next claim repairs their ready ranks.';

create table batchgen.failures (
  generation_id uuid primary key references public.image_generations (id) on delete cascade,
  code text not null,
  failed_at timestamptz not null default now()
);
comment on table batchgen.failures is 'Why an item failed, as a stable code; the sentence for people is image_generations.error_message.';

-- Nobody but these functions reads or writes the private tables.
alter table batchgen.settings enable row level security;
alter table batchgen.queue enable row level security;
alter table batchgen.touched enable row level security;
alter table batchgen.failures enable row level security;
create policy "Nobody" on batchgen.settings for all to public using (false);
create policy "Nobody" on batchgen.queue for all to public using (false);
create policy "Nobody" on batchgen.touched for all to public using (false);
create policy "Nobody" on batchgen.failures for all to public using (false);
revoke all on all tables in schema batchgen from public, anon, authenticated, service_role;

create function batchgen.before_settings_updated() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_settings_updated() from public, anon, authenticated, service_role;
create trigger before_settings_updated before update on batchgen.settings
for each row execute function batchgen.before_settings_updated();

-- A raised per-user limit makes more rows of every waiting user ready; the next claim marks them.
create function batchgen.after_settings_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.max_parallel_per_user is distinct from old.max_parallel_per_user then
    insert into batchgen.touched (user_id) select distinct user_id from batchgen.queue where state = 'waiting';
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_settings_updated() from public, anon, authenticated, service_role;
create trigger after_settings_updated after update on batchgen.settings
for each row execute function batchgen.after_settings_updated();

-- batchgen.with_totals(p_batch): the batch with counts, status and completed_at as its items say. The caller holds the
-- batch's row lock: two items that end at once cannot both miss each other.
create function batchgen.with_totals(p_batch public.batch_generations) returns public.batch_generations
language plpgsql security definer set search_path = '' as $$
declare
  v_items record;
begin
  select count(*) as total,
    count(*) filter (where g.status = 'completed') as completed,
    count(*) filter (where g.status = 'failed') as failed,
    count(*) filter (where g.status = 'pending' and coalesce(g.retry_count, 0) = 0) as untouched
  into v_items from public.image_generations g where g.batch_id = p_batch.id;

  p_batch.total_count := greatest(p_batch.total_count, v_items.total);
  p_batch.completed_count := v_items.completed;
  p_batch.failed_count := v_items.failed;
  p_batch.status := case
    when v_items.completed + v_items.failed < v_items.total then
      case when coalesce(p_batch.status, 'pending') = 'pending' and v_items.untouched = v_items.total then 'pending' else 'processing' end
    when v_items.completed = 0 then 'failed'
    when v_items.failed = 0 then 'completed'
    else 'partial'
  end;
  p_batch.completed_at := case
    when p_batch.status in ('completed', 'partial', 'failed') then coalesce(p_batch.completed_at, clock_timestamp())
  end;
  return p_batch;
end
$$;
revoke execute on function batchgen.with_totals(public.batch_generations) from public, anon, authenticated, service_role;

-- batchgen.refresh_batches(p_batch_ids)
-- Brings the totals of batches up to date, and writes those that have changed.
-- Caller: triggers. Locks: the batch rows, in the order of their ids; the items are read after that.
create function batchgen.refresh_batches(p_batch_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_batch public.batch_generations;
  v_new public.batch_generations;
begin
  for v_batch in
    select b.* from public.batch_generations b where b.id = any (p_batch_ids) order by b.id for no key update
  loop
    v_new := batchgen.with_totals(v_batch);
    if v_new is distinct from v_batch then
      update public.batch_generations b
      set total_count = v_new.total_count, completed_count = v_new.completed_count, failed_count = v_new.failed_count,
        status = v_new.status, completed_at = v_new.completed_at
      where b.id = v_batch.id;
    end if;
  end loop;
end
$$;
revoke execute on function batchgen.refresh_batches(uuid[]) from public, anon, authenticated, service_role;

-- A direct edit of totals, by the app or an admin, is no error and changes nothing: they stay what the items say.
create function batchgen.before_batch_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.status := old.status;
  new.completed_at := old.completed_at;
  return batchgen.with_totals(new);
end
$$;
revoke execute on function batchgen.before_batch_updated() from public, anon, authenticated, service_role;
-- At depth 0 nobody but a direct edit writes: the totals' own updates come from triggers.
create trigger batchgen_before_update
before update of total_count, completed_count, failed_count, status, completed_at on public.batch_generations
for each row when (pg_trigger_depth() = 0) execute function batchgen.before_batch_updated();

-- batchgen.end_as_failed(...)
-- The one way to failed for the worker's functions and triggers. The caller holds the generations' row locks.
create function batchgen.end_as_failed(p_generation_ids uuid[], p_code text, p_message text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.failures (generation_id, code)
  select id, left(p_code, 100) from unnest(p_generation_ids) as id
  on conflict (generation_id) do update set code = excluded.code, failed_at = now();
  update public.image_generations g
  set status = 'failed', error_message = left(p_message, 2000), error_code = left(p_code, 100), completed_at = clock_timestamp()
  where g.id = any (p_generation_ids);
end
$$;
revoke execute on function batchgen.end_as_failed(uuid[], text, text) from public, anon, authenticated, service_role;

-- batchgen.place_of(p_priority): an item's priority as the queue has it, whatever somebody wrote: within a billion.
create function batchgen.place_of(p_priority integer) returns integer
language sql immutable set search_path = '' as $$
  select least(greatest(coalesce(p_priority, 0), -1000000000), 1000000000)
$$;
revoke execute on function batchgen.place_of(integer) from public, anon, authenticated, service_role;
comment on function batchgen.place_of(integer) is 'An item''s priority as the queue has it: within a billion.';

-- batchgen.owner_of(p_user_id, p_batch_id): whose an item is: its user's, else its batch's, else nobody's (zeros).
create function batchgen.owner_of(p_user_id uuid, p_batch_id uuid) returns uuid
language sql stable security definer set search_path = '' as $$
  select coalesce(
    p_user_id, (select b.user_id from public.batch_generations b where b.id = p_batch_id), '00000000-0000-0000-0000-000000000000'
  )
$$;
revoke execute on function batchgen.owner_of(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.owner_of(uuid, uuid) is 'Whose an item is: its user''s, else its batch''s, else nobody''s.';

-- The three triggers below keep queue and totals in step with image_generations, whoever writes it: the worker's
-- functions, the app, or an admin in the dashboard. One run per statement, whatever its size.

create function batchgen.after_generations_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_batch_ids uuid[];
begin
  select array_agg(distinct n.batch_id) into v_batch_ids from new_rows n where n.batch_id is not null;
  if v_batch_ids is null then
    return null;
  end if;
  with queued as (
    insert into batchgen.queue (generation_id, user_id, priority, created_at, batch_index, model_id)
    select n.id, batchgen.owner_of(n.user_id, n.batch_id), batchgen.place_of(n.priority),
      coalesce(n.created_at, now()), coalesce(n.batch_index, 0), coalesce(n.model_id, '00000000-0000-0000-0000-000000000000')
    from new_rows n where n.batch_id is not null and n.status = 'pending'
    returning user_id
  )
  insert into batchgen.touched (user_id) select distinct user_id from queued;
  perform batchgen.refresh_batches(v_batch_ids);
  return null;
end
$$;

create function batchgen.after_generations_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_left uuid[];
  v_orphaned uuid[];
  v_entered uuid[];
  v_moved uuid[];
  v_started uuid[];
  v_counted uuid[];
begin
  select
    -- out of the queue: final, or not part of a batch any more
    array_agg(n.id) filter (where f.was_queued and not f.is_queued),
    -- their batch was deleted before they ended
    array_agg(n.id) filter (where f.was_queued and n.batch_id is null and n.status in ('pending', 'processing')
      and not exists (select from public.batch_generations b where b.id = o.batch_id)),
    -- (back) into the queue: made pending from anything else, or a final item set to processing by hand
    array_agg(n.id) filter (where f.is_queued and (
      (n.status = 'pending' and (not f.was_queued or o.status <> 'pending')) or (not f.was_queued and o.batch_id is not null)
    )),
    -- another place in the queue
    array_agg(n.id) filter (where f.was_queued and f.is_queued
      and (o.user_id, o.priority, o.created_at, o.batch_index, o.model_id)
        is distinct from (n.user_id, n.priority, n.created_at, n.batch_index, n.model_id)),
    -- batches that begin
    array_agg(n.batch_id) filter (where o.status = 'pending' and n.status = 'processing'),
    -- batches whose counts change
    array_agg(n.batch_id) filter (where f.is_counted) || array_agg(o.batch_id) filter (where f.is_counted)
  into v_left, v_orphaned, v_entered, v_moved, v_started, v_counted
  from old_rows o
  join new_rows n using (id)
  cross join lateral (
    select o.batch_id is not null and coalesce(o.status, '') in ('pending', 'processing') as was_queued,
      n.batch_id is not null and coalesce(n.status, '') in ('pending', 'processing') as is_queued
  ) q
  cross join lateral (
    select q.was_queued, q.is_queued,
      o.batch_id is distinct from n.batch_id
      or (o.status is distinct from n.status and not (q.was_queued and q.is_queued)) as is_counted
  ) f
  where o.batch_id is not null or n.batch_id is not null;

  if v_left is not null then
    with gone as (delete from batchgen.queue q where q.generation_id = any (v_left) returning q.user_id)
    insert into batchgen.touched (user_id) select distinct user_id from gone;
  end if;

  if v_orphaned is not null then
    -- Nobody would ever run or end them. A worker that runs one finds out at its next call.
    perform batchgen.end_as_failed(v_orphaned, 'cancelled', 'The batch was deleted.');
  end if;

  if v_entered is not null then
    delete from batchgen.failures f where f.generation_id = any (v_entered);
    -- A row that waits already was put there by a worker's function and keeps its due time. One that still runs was
    -- set back by hand: its lease ends here, and its worker finds out at its next call.
    with queued as (
      insert into batchgen.queue as q (generation_id, user_id, priority, created_at, batch_index, model_id)
      select n.id, coalesce(n.user_id, '00000000-0000-0000-0000-000000000000'), coalesce(n.priority, 0),
        coalesce(n.created_at, now()), coalesce(n.batch_index, 0), coalesce(n.model_id, '00000000-0000-0000-0000-000000000000')
      from new_rows n where n.id = any (v_entered)
      on conflict (generation_id) do update
        set state = 'waiting', due_at = now(), lease_id = null, lease_expires_at = null, worker = null, started_at = null
        where q.state = 'running'
      returning q.user_id
    )
    insert into batchgen.touched (user_id) select distinct user_id from queued;
  end if;

  if v_moved is not null then
    with before as (
      select q.generation_id, q.user_id from batchgen.queue q where q.generation_id = any (v_moved) for update
    ),
    moved as (
      update batchgen.queue q
      set user_id = coalesce(n.user_id, '00000000-0000-0000-0000-000000000000'), priority = coalesce(n.priority, 0),
        created_at = coalesce(n.created_at, q.created_at), batch_index = coalesce(n.batch_index, 0),
        model_id = coalesce(n.model_id, '00000000-0000-0000-0000-000000000000'),
        -- The next claim looks at a parked item anew: its new model may be one that runs.
        state = case when q.state = 'parked' then 'waiting' else q.state end
      from new_rows n join before b on b.generation_id = n.id
      where q.generation_id = n.id
      returning q.user_id, b.user_id as user_before
    )
    insert into batchgen.touched (user_id)
    select user_id from moved union select user_before from moved;
  end if;

  if v_started is not null then
    -- A start changes no count: it only opens a batch that was pending.
    perform 1 from public.batch_generations b
    where b.id = any (v_started) and b.status = 'pending' order by b.id for no key update;
    update public.batch_generations b set status = 'processing' where b.id = any (v_started) and b.status = 'pending';
  end if;

  if v_counted is not null then
    perform batchgen.refresh_batches(v_counted);
  end if;
  return null;
end
$$;

create function batchgen.after_generations_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_batch_ids uuid[];
begin
  select array_agg(distinct o.batch_id) into v_batch_ids from old_rows o where o.batch_id is not null;
  if v_batch_ids is null then
    return null;
  end if;
  -- The queue rows go by their foreign key.
  insert into batchgen.touched (user_id)
  select distinct coalesce(o.user_id, '00000000-0000-0000-0000-000000000000') from old_rows o
  where o.batch_id is not null and coalesce(o.status, '') in ('pending', 'processing');
  perform batchgen.refresh_batches(v_batch_ids);
  return null;
end
$$;

revoke execute on function batchgen.after_generations_inserted() from public, anon, authenticated, service_role;
revoke execute on function batchgen.after_generations_updated() from public, anon, authenticated, service_role;
revoke execute on function batchgen.after_generations_deleted() from public, anon, authenticated, service_role;

create trigger batchgen_after_insert after insert on public.image_generations
referencing new table as new_rows for each statement execute function batchgen.after_generations_inserted();
create trigger batchgen_after_update after update on public.image_generations
referencing old table as old_rows new table as new_rows for each statement execute function batchgen.after_generations_updated();
create trigger batchgen_after_delete after delete on public.image_generations
referencing old table as old_rows for each statement execute function batchgen.after_generations_deleted();

-- Items that waited before this migration wait on: without this line nobody would ever take them.
with queued as (
  insert into batchgen.queue (generation_id, user_id, priority, created_at, batch_index, model_id)
  select g.id, batchgen.owner_of(g.user_id, g.batch_id), batchgen.place_of(g.priority),
    coalesce(g.created_at, now()), coalesce(g.batch_index, 0), coalesce(g.model_id, '00000000-0000-0000-0000-000000000000')
  from public.image_generations g where g.batch_id is not null and g.status = 'pending'
  returning user_id
)
insert into batchgen.touched (user_id) select distinct user_id from queued;
