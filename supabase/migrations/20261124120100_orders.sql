-- Purchases are written down before they are sent. Differs from results_in_bulk.sql, worker_functions.sql and
-- ranks_a_few_at_a_time.sql: whether a job is resumed depends on whether it is over, not on whether its attempt counted;
-- a claim says where and how to order; pictures keep the seed and version that were really used.
--
-- Locks: an order's row is taken after the queue row of its item, by whoever holds that; see settle_order for the sweep.

alter table public.images add column if not exists seed bigint;
alter table public.images add column if not exists model_version text;
alter table public.images add column if not exists is_black boolean default false;
comment on column public.images.seed is 'The seed really used, where the provider tells.';
comment on column public.images.model_version is 'The model''s version really used, where the provider tells.';
comment on column public.images.is_black is 'Whether the picture is all black: what safety filters leave in place of one.';

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
  constraint only_an_open_order_is_asked_about check ((ended_at is null) = (ask_at is null) and (ended_at is not null or lease_id is null)),
  constraint an_order_is_leased_whole check ((lease_id is null) = (lease_expires_at is null)),
  constraint order_price_in_range check (price_usd between 0 and 1000),
  constraint order_times_are_finite check (
    isfinite(ordered_at) and isfinite(ended_at) is not false and isfinite(ask_at) is not false
    and isfinite(lease_expires_at) is not false
  ),
  constraint asked_in_range check (asked between 0 and 1000000000)
) with (fillfactor = 80, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.02);
comment on table batchgen.orders is
  'Purchases whose outcome is not final: of items that run or wait, and, with ended_at, open ones that a sweep asks the provider about. Final ones are in ledger.';
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
comment on column batchgen.orders.price_usd is 'What it costs if it is charged, as the model''s row said; empty where nobody knows.';
comment on column batchgen.orders.worker is 'Who sent it.';
comment on column batchgen.orders.ordered_at is 'Just before it was sent.';
comment on column batchgen.orders.provider_job_id is 'The provider''s id of the job; empty while nobody knows whether the order arrived.';
comment on column batchgen.orders.is_charged is 'Whether it costs money; empty where that is not known.';
comment on column batchgen.orders.queued_seconds is 'How long the job waited at the provider.';
comment on column batchgen.orders.running_seconds is 'How long it ran there.';
comment on column batchgen.orders.is_late is 'Its item had ended, and is run again for the picture alone.';
comment on column batchgen.orders.late_code is 'As what the item had ended.';
comment on column batchgen.orders.late_message is 'The sentence that it had ended with.';
comment on column batchgen.orders.ended_at is 'Since when nobody waits for it: its item ended, and what became of the order is not known.';
comment on column batchgen.orders.ask_at is 'When the provider is asked next.';
comment on column batchgen.orders.asked is 'How often it was asked.';
comment on column batchgen.orders.is_settled is
  'What it cost is in the ledger. Its item ended as crashed, and who runs that again finds the picture here for a day.';
comment on column batchgen.orders.lease_id is 'Minted when a worker takes it to ask.';
comment on column batchgen.orders.lease_expires_at is 'After this another worker may ask.';
create index orders_of_a_generation on batchgen.orders (generation_id);
create index orders_to_ask_about on batchgen.orders (ask_at) where ended_at is not null;
alter table batchgen.orders enable row level security;
create policy "Nobody" on batchgen.orders for all to public using (false);
revoke all on batchgen.orders from public, anon, authenticated, service_role;

alter table batchgen.queue
  add column order_key uuid,
  add column fault_code text,
  add column job_over boolean;
comment on column batchgen.queue.order_key is 'The purchase for this item whose outcome is not known yet; its row is in orders.';
comment on column batchgen.queue.fault_code is 'As what the lease that ends now has failed.';
comment on column batchgen.queue.job_over is 'Whether its job has ended by that: then the next attempt orders anew.';

-- batchgen.note_account(p_order_key, p_account): what a worker says of money and time; what it leaves out stays. Where a
-- picture costs nothing, none is charged.
create function batchgen.note_account(p_order_key uuid, p_account jsonb) returns void
language sql security definer set search_path = '' as $$
  update batchgen.orders o
  set is_charged = case when o.price_usd = 0 then false else coalesce((p_account ->> 'is_charged')::boolean, o.is_charged) end,
    queued_seconds = coalesce((p_account ->> 'queued_seconds')::double precision, o.queued_seconds),
    running_seconds = coalesce((p_account ->> 'running_seconds')::double precision, o.running_seconds)
  where o.key = p_order_key and jsonb_typeof(p_account) = 'object'
$$;
revoke execute on function batchgen.note_account(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.note_account(uuid, jsonb) is 'Writes down what a worker learned of an order''s money and time.';

alter table batchgen.breakers add column message text;
comment on column batchgen.breakers.message is 'What is to be done about it, as the provider or the worker said.';

-- batchgen.close_model(...): nothing of the model starts for so many seconds: its row, or the account's right to it, has
-- to be mended. p_message says so to whoever asks why an item waits.
create function batchgen.close_model(p_model_id uuid, p_seconds double precision, p_reason text, p_message text) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.breakers as b (model_id, opened_until, reason, message)
  values (p_model_id, clock_timestamp() + make_interval(secs => p_seconds), left(p_reason, 100), left(p_message, 500))
  on conflict (model_id) do update
  set opened_until = greatest(b.opened_until, excluded.opened_until), reason = excluded.reason, message = excluded.message,
    probe_lease_id = null, updated_at = now()
$$;
revoke execute on function batchgen.close_model(uuid, double precision, text, text) from public, anon, authenticated, service_role;
comment on function batchgen.close_model(uuid, double precision, text, text) is 'Opens a model''s breaker at once: its row has to be mended.';

-- batchgen.leave_orders(p_keys): their items do not wait for these any more; somebody asks what became of them.
create function batchgen.leave_orders(p_keys uuid[]) returns void
language sql security definer set search_path = '' as $$
  update batchgen.orders o set ended_at = clock_timestamp(), ask_at = clock_timestamp() + interval '2 seconds', asked = 0
  where o.key = any (p_keys)
$$;
revoke execute on function batchgen.leave_orders(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.leave_orders(uuid[]) is 'Leaves orders open, to be asked about.';

-- batchgen.is_in_ledger(p_order_key): whether an attempt that had this order has ended (ledger.sql).
create function batchgen.is_in_ledger(p_order_key uuid) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (select from batchgen.ledger l where l.order_key = p_order_key);
end
$$;
revoke execute on function batchgen.is_in_ledger(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.is_in_ledger(uuid) is 'Whether an order is one of an earlier attempt.';

-- begin_order(p_generation_id, p_lease_id, p_order)
-- Writes a purchase down before it is sent, so that whoever takes the item over knows of it. p_order: {provider, model,
-- version, inputs}. Returns its key. An order of the item that was begun before and turned out never to have arrived
-- becomes this one. One of an earlier attempt that has a job is not forgotten: it is left open, and somebody asks what
-- became of it. PT422 for an item that runs again for its picture alone, and for a second job in one attempt.
-- Locks: the queue row alone, like attach_provider_job.
create function public.begin_order(p_generation_id uuid, p_lease_id uuid, p_order jsonb) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_item batchgen.queue;
  v_order batchgen.orders;
  v_key uuid;
begin
  if coalesce(p_order ->> 'provider', '') = '' or coalesce(jsonb_typeof(p_order -> 'inputs'), 'object') <> 'object' then
    perform batchgen.refuse_argument('p_order', 'names no provider, or its inputs are no object', 'Send {provider, model, version, inputs}.');
  end if;
  select q.* into v_item from batchgen.queue q
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id and q.lease_expires_at > clock_timestamp() for no key update;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  select o.* into v_order from batchgen.orders o where o.key = v_item.order_key;
  if v_order.is_late then
    perform batchgen.refuse_argument('p_generation_id', 'runs again for a picture that was made', 'Ask for its job, and order nothing.');
  elsif v_order.provider_job_id is not null and not batchgen.is_in_ledger(v_order.key) then
    perform batchgen.refuse_argument('p_generation_id', 'has a job of this attempt', 'Wait for that one.');
  elsif v_order.provider_job_id is not null then
    perform batchgen.leave_orders(array[v_order.key]);
    v_item.order_key := null;
  end if;
  insert into batchgen.orders as o (
    key, generation_id, user_id, batch_id, model_id, seed, provider, provider_model, provider_version, inputs, price_usd, worker
  )
  select coalesce(v_item.order_key, gen_random_uuid()), g.id, v_item.user_id, g.batch_id, v_item.model_id, coalesce(g.seed, 0),
    p_order ->> 'provider', p_order ->> 'model', p_order ->> 'version', coalesce(p_order -> 'inputs', '{}'),
    (select m.price_usd from batchgen.models m where m.id = v_item.model_id), v_item.worker
  from public.image_generations g where g.id = p_generation_id
  on conflict (key) do update
  set batch_id = excluded.batch_id, model_id = excluded.model_id, seed = excluded.seed, provider = excluded.provider,
    provider_model = excluded.provider_model, provider_version = excluded.provider_version, inputs = excluded.inputs,
    price_usd = excluded.price_usd, worker = excluded.worker, ordered_at = clock_timestamp(), is_charged = null, queued_seconds = null,
    running_seconds = null, is_settled = false
  returning o.key into v_key;
  update batchgen.queue q set order_key = v_key, provider = null, provider_job_id = null where q.generation_id = p_generation_id;
  return v_key;
end
$$;
revoke execute on function public.begin_order(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.begin_order(uuid, uuid, jsonb) to service_role;
comment on function public.begin_order(uuid, uuid, jsonb) is 'For workers: writes a purchase down before it is sent, and returns its key.';

-- attach_provider_job(...)
-- Remembers the provider's id of a job before anybody waits for it, so that whoever takes the item over resumes it. An
-- order that an earlier attempt sent to another provider is left open: this job is none of its.
create or replace function public.attach_provider_job(p_generation_id uuid, p_lease_id uuid, p_provider text, p_provider_job_id text) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_order_key uuid;
begin
  if coalesce(p_provider, '') = '' or coalesce(p_provider_job_id, '') = '' then
    perform batchgen.refuse_argument('p_provider_job_id', 'or p_provider is empty', 'Give the provider''s name and its id of the job.');
  end if;
  -- The queue row alone: an item or batch that somebody edits just now must not keep a paid job's id from being stored.
  update batchgen.queue q set provider = p_provider, provider_job_id = p_provider_job_id
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id and q.lease_expires_at > clock_timestamp()
  returning q.order_key into v_order_key;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  if v_order_key is null then
    return;
  end if;
  update batchgen.orders o set provider = p_provider, provider_job_id = p_provider_job_id
  where o.key = v_order_key and (o.provider = p_provider or not batchgen.is_in_ledger(o.key));
  if not found then
    perform batchgen.leave_orders(array[v_order_key]);
    update batchgen.queue q set order_key = null where q.generation_id = p_generation_id;
  end if;
end
$$;

-- batchgen.take_back(...)
-- The one way from running to waiting. The caller holds the generations' row locks, and each id stands at most once.
-- p_due_in_seconds: 0 = due now. p_crashed: the lease expired. p_retried: a failed attempt that counts.
-- An item whose owner asked for its end does not wait again: it ends here as cancelled.
create or replace function batchgen.take_back(
  p_generation_ids uuid[], p_due_in_seconds double precision, p_crashed boolean, p_retried boolean
) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_cancelled uuid[] := array(
    select q.generation_id from batchgen.queue q where q.generation_id = any (p_generation_ids) and q.cancel_requested
  );
begin
  if v_cancelled <> '{}' then
    perform batchgen.end_as_failed(v_cancelled, 'cancelled', 'Cancelled by user');
  end if;
  with back as (
    update batchgen.queue q
    set state = case when p_due_in_seconds > 0 then 'delayed' else 'waiting' end::batchgen.queue_state,
      due_at = clock_timestamp() + make_interval(secs => p_due_in_seconds),
      lease_id = null, lease_expires_at = null, worker = null, started_at = null,
      crash_count = least(q.crash_count, 1000000) + p_crashed::integer,
      lone_crash_count = least(q.lone_crash_count, 1000000) + (p_crashed and q.ran_alone)::integer,
      -- A wait or a planned release proves nothing; an attempt that has ended does.
      is_suspect = p_crashed or (q.is_suspect and not p_retried),
      ran_alone = false,
      -- A job that is over is not resumed; one that was only left is.
      provider = case when q.job_over is not true then q.provider end,
      provider_job_id = case when q.job_over is not true then q.provider_job_id end,
      order_key = case when q.job_over is not true then q.order_key end
    where q.generation_id = any (p_generation_ids) and q.generation_id <> all (v_cancelled) and q.state = 'running'
    returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct user_id from back;
  update public.image_generations g
  set status = 'pending', retry_count = case
    when p_retried then least(greatest(coalesce(g.retry_count, 0), 0), 1000000) + 1 else coalesce(g.retry_count, 0)
  end
  where g.id = any (p_generation_ids) and g.id <> all (v_cancelled);
end
$$;

-- fail_generation(p_generation_id, p_lease_id, p_error)
-- p_error: {code, message, retryable, retry_after_seconds, provider, provider_fault, model_fault, job_over, is_charged,
-- queued_seconds, running_seconds}. Three ends:
--   retryable, with retry_after_seconds -> pending, due after that time; the provider asked to wait: that is no attempt
--   retryable, and retries left         -> pending, retry_count + 1, due after the next of settings.retry_delays_seconds
--   otherwise                           -> failed, with the message
-- One whose owner asked for its end is not tried again: failed, as cancelled.
-- A provider that asked to wait (retryable, retry_after_seconds) is asked by no worker before that time; provider names
-- it, by default the one of the item's job or model. With model_fault it is the model that waits, and no other one. An
-- item that is told to wait again and again, and a provider that refuses again and again, wait for longer than they are
-- told: 1 s, 2 s, 4 s, … 5 min at the least.
-- provider_fault says what the model's breaker learns: true, one more fault; false, the provider answered as it should;
-- left out, nothing. job_over: whether the item's job has ended; left out, it has, unless the provider asks to wait.
-- Returns {status, retry_count, retry_in_seconds}.
create or replace function public.fail_generation(p_generation_id uuid, p_lease_id uuid, p_error jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_settings batchgen.settings;
  v_item batchgen.queue;
  v_status text := 'pending';
  v_retry_count integer;
  v_code text := coalesce(nullif(p_error ->> 'code', ''), 'failed');
  v_message text := coalesce(nullif(p_error ->> 'message', ''), 'The picture could not be made.');
  v_retryable boolean := coalesce(p_error -> 'retryable' = 'true'::jsonb, false);
  v_wait double precision;
  v_told double precision;
  v_order batchgen.orders;
  v_is_over boolean;
begin
  if jsonb_typeof(p_error) is distinct from 'object' then
    perform batchgen.refuse_argument('p_error', 'is not an object', 'Send {code, message, retryable, retry_after_seconds}.');
  end if;
  if jsonb_typeof(p_error -> 'retry_after_seconds') = 'number' then
    -- Rounded, since a number next to zero has no double precision.
    v_wait := round(least(greatest((p_error ->> 'retry_after_seconds')::numeric, 0), 86400), 6)::double precision;
  elsif coalesce(jsonb_typeof(p_error -> 'retry_after_seconds'), 'null') <> 'null' then
    perform batchgen.refuse_argument('p_error.retry_after_seconds', 'is not a number', 'Give seconds as a number, or leave it out.');
  end if;

  v_item := batchgen.hold_lease(p_generation_id, p_lease_id);
  select s.* into v_settings from batchgen.settings s;
  select greatest(coalesce(g.retry_count, 0), 0) into v_retry_count from public.image_generations g where g.id = p_generation_id;
  -- A job that is asked about too early goes on: unless it is said to be over, it stays attached and is asked again.
  v_is_over := coalesce((p_error ->> 'job_over')::boolean, not (v_retryable and v_wait is not null));
  if v_retryable and v_item.cancel_requested then
    v_retryable := false;
    v_code := 'cancelled';
    v_message := 'Cancelled by user';
  end if;

  -- Of a job that goes on only its costs are known, and never that there are none: it may still succeed.
  perform batchgen.note_account(
    v_item.order_key, case when v_is_over or p_error -> 'is_charged' = 'true'::jsonb then p_error else p_error - 'is_charged' end
  );
  select o.* into v_order from batchgen.orders o where o.key = v_item.order_key;
  v_retryable := v_retryable and not (v_order.is_late is true and v_is_over);
  update batchgen.queue q
  set fault_code = left(v_code, 100), job_over = v_is_over,
    wait_count = case when v_retryable and v_wait is not null then least(q.wait_count, 1000000) + 1 else 0 end
  where q.generation_id = p_generation_id;

  if v_retryable and v_wait is not null then
    v_told := v_wait;
    v_wait := greatest(v_wait, batchgen.shortest_wait(v_item.wait_count + 1));
    perform batchgen.take_back(array[p_generation_id], v_wait, false, false);
    if p_error -> 'model_fault' = 'true'::jsonb then
      perform batchgen.close_model(v_item.model_id, v_wait, v_code, v_message);
    else
      perform batchgen.pause_provider(
        coalesce(nullif(p_error ->> 'provider', ''), v_item.provider, batchgen.provider_of(v_item.model_id)), v_told, v_code,
        v_item.started_at
      );
    end if;
  elsif v_retryable and v_retry_count < v_settings.max_retries then
    v_retry_count := v_retry_count + 1;
    v_wait := v_settings.retry_delays_seconds[least(v_retry_count, cardinality(v_settings.retry_delays_seconds))];
    perform batchgen.take_back(array[p_generation_id], v_wait, false, true);
  else
    -- One that had ended before, and was run again for its picture alone, ends as it had.
    perform batchgen.end_as_failed(array[p_generation_id], coalesce(v_order.late_code, v_code), coalesce(v_order.late_message, v_message));
    v_status := 'failed';
    v_wait := null;
  end if;
  -- At the end, since whoever holds a breaker waits for nothing else.
  if p_error -> 'provider_fault' = 'true'::jsonb then
    perform batchgen.count_provider_fault(v_item);
  elsif p_error -> 'provider_fault' = 'false'::jsonb then
    perform batchgen.close_breaker(v_item.model_id);
  end if;
  return jsonb_build_object('status', v_status, 'retry_count', v_retry_count, 'retry_in_seconds', v_wait);
end
$$;

-- batchgen.complete_items(p_results): as before, and a result's account says what its order cost.
create or replace function batchgen.complete_items(p_results jsonb) returns table (generation_id uuid, lease_id uuid, image_id uuid)
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_leases uuid[];
  v_models uuid[];
  v_items batchgen.queue[];
  v_images public.images[];
  v_problem record;
begin
  select array_agg(distinct (r.value ->> 'generation_id')::uuid), array_agg(distinct (r.value ->> 'lease_id')::uuid)
  into v_ids, v_leases from jsonb_array_elements(p_results) r;
  if cardinality(v_ids) < 2 then
    perform batchgen.lock_items(v_ids);
  elsif not batchgen.lock_items_within(v_ids, 1) then
    perform batchgen.refuse('busy', 'Somebody holds one of these items.', 'p_results', 'Send the results one by one.', null, null, 'PT409');
  end if;
  select array_agg(held.generation_id), array_agg(held.lease_id), array_agg(distinct held.model_id), array_agg(held.item)
  into v_ids, v_leases, v_models, v_items
  from (
    select q.generation_id, q.lease_id, q.model_id, q as item from batchgen.queue q
    where q.generation_id = any (v_ids) and q.lease_id = any (v_leases) and q.lease_expires_at > clock_timestamp()
      and exists (
        select from jsonb_array_elements(p_results) e
        where (e.value ->> 'generation_id')::uuid = q.generation_id and (e.value ->> 'lease_id')::uuid = q.lease_id
      )
    for update
  ) held;
  if v_ids is null then
    return;
  end if;

  begin
    select array_agg(jsonb_populate_record(null::public.images, r.result || jsonb_build_object('generation_id', r.generation_id)))
    into v_images
    from (
      select distinct on (h.generation_id) h.generation_id, coalesce(e.value -> 'result', '{}') as result
      from unnest(v_ids, v_leases) h (generation_id, lease_id)
      join jsonb_array_elements(p_results) e
        on (e.value ->> 'generation_id')::uuid = h.generation_id and (e.value ->> 'lease_id')::uuid = h.lease_id
    ) r;
  exception when others then
    perform batchgen.refuse_argument('p_result', format('does not fit the table images: %s', sqlerrm), 'Send an object whose keys are columns of images.');
  end;
  select i.storage_path, g.user_id into v_problem
  from unnest(v_images) i join public.image_generations g on g.id = i.generation_id
  where starts_with(i.storage_path, g.user_id || '/') is not true or i.storage_path ~ '(^|/)(\.\.?)?(/|$)'
  limit 1;
  if found and coalesce(v_problem.storage_path, '') = '' then
    perform batchgen.refuse_argument('p_result.storage_path', 'is missing', 'Store the picture first, then say where.');
  elsif found then
    perform batchgen.refuse_argument('p_result.storage_path', 'is outside the owner''s folder', 'Use {user_id}/{generation_id}.{format}.');
  end if;

  -- One picture per generation: an item that was run again replaces its picture, and keeps what the user made of it.
  update public.images i
  set storage_path = n.storage_path, filename = coalesce(nullif(n.filename, ''), i.filename), public_url = n.public_url,
    format = n.format, width = n.width, height = n.height, file_size = n.file_size, blurhash = n.blurhash, seed = n.seed,
    model_version = n.model_version, is_black = coalesce(n.is_black, false)
  from unnest(v_images) n
  where i.id = (select j.id from public.images j where j.generation_id = n.generation_id order by j.created_at, j.id limit 1);
  insert into public.images (
    generation_id, user_id, filename, storage_path, prompt, public_url, negative_prompt, model, style, width, height, format, file_size, blurhash, seed,
    model_version, is_black
  )
  select g.id, g.user_id, coalesce(nullif(n.filename, ''), regexp_replace(n.storage_path, '^.*/', '')), n.storage_path, g.prompt,
    n.public_url, g.negative_prompt, g.model, g.style, n.width, n.height, n.format, n.file_size, n.blurhash, n.seed, n.model_version,
    coalesce(n.is_black, false)
  from unnest(v_images) n join public.image_generations g on g.id = n.generation_id
  where not exists (select from public.images j where j.generation_id = n.generation_id);
  -- All new words at once and in order: two calls that make the same ones wait for each other, and never in a circle.
  insert into public.tags (name, created_by)
  select distinct on (t.name) t.name, g.user_id
  from batchgen.generation_tags t join public.image_generations g on g.id = t.generation_id
  where t.generation_id = any (v_ids) order by t.name, g.user_id
  on conflict do nothing;
  perform batchgen.tag_image(i.id, i.generation_id)
  from public.images i
  where i.generation_id in (select t.generation_id from batchgen.generation_tags t where t.generation_id = any (v_ids));

  -- The picture of each: the one that was there first, as above.
  return query
  select h.generation_id, h.lease_id,
    (select j.id from public.images j where j.generation_id = h.generation_id order by j.created_at, j.id limit 1)
  from unnest(v_ids, v_leases) h (generation_id, lease_id);

  if exists (select from batchgen.queue q where q.generation_id = any (v_ids) and q.order_key is not null) then
    -- A picture was delivered: that costs what it costs, unless the provider said otherwise.
    perform batchgen.note_account(q.order_key, '{"is_charged": true}' || jsonb_strip_nulls(a.account))
    from batchgen.queue q join jsonb_array_elements(p_results) e on (e.value ->> 'lease_id')::uuid = q.lease_id
    cross join lateral (select coalesce(nullif(e.value -> 'result' -> 'account', 'null'), '{}') as account) a
    where q.generation_id = any (v_ids) and q.order_key is not null;
  end if;

  update public.image_generations g
  set status = 'completed', error_message = null, error_code = null, completed_at = clock_timestamp(),
    generation_time_seconds = least(greatest(ceil(extract(epoch from clock_timestamp() - q.started_at)), 0), 2147483647)::integer
  from batchgen.queue q
  where g.id = any (v_ids) and q.generation_id = g.id;
  delete from batchgen.breakers b where b.model_id = any (v_models);
  -- At the end, like the breakers: who pauses a provider waits for nothing else.
  if exists (select from batchgen.providers p where p.refusals > 0) then
    update batchgen.providers p set refusals = 0
    where p.refusals > 0 and p.name in (select coalesce(v.provider, batchgen.provider_of(v.model_id)) from unnest(v_items) v);
  end if;
end
$$;

-- claim_generations(p_worker, p_limit, p_lease_seconds)
-- Leases up to p_limit waiting items: pending -> processing. Highest priority first; then a user's n-th running item
-- waits for every other user's n-th; then first in, first out. Never more than settings.max_parallel_per_user of one
-- user or settings.max_parallel_global in all: running items are counted here, under the lock, and nowhere kept.
-- Items whose provider or model is not to be asked now are parked, and come back when it is (provider_pacing.sql).
-- Only the next few rows of a user are ranked. Where a claim comes to the end of them it takes what surely goes first,
-- ranks twice as many of those users, and goes on: a high limit costs only those who use it. It goes on as well where
-- somebody holds what it picked, so that a row that is locked keeps no other one from its turn.
-- An item that a dead worker had is claimed alone, and its worker gets nothing beside it (crash_suspects.sql).
-- Caller: service_role. Locks: one claim at a time (advisory); rows that others hold are left out.
-- Plans are generic, and without sequential scans: a session keeps its plans, and may have made them while the queue was
-- empty. Without JIT, which such plans' guessed costs would start: compiling takes longer than a hundred claims. Without
-- sorts, so that the ready rows are read in order from their index and not all of them: the planner expects one row.
-- It returns where and how to order the picture as well, and the order that an earlier attempt has begun: new columns,
-- for which the function has to be made anew.
-- squawk-ignore ban-drop-function
drop function public.claim_generations(text, integer, integer);
create function public.claim_generations(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  generation_id uuid, lease_id uuid, lease_expires_at timestamptz, attempt integer, retry_count integer, user_id uuid,
  batch_id uuid, batch_index integer, prompt text, negative_prompt text, seed bigint, model text, model_version text,
  width integer, height integer, steps integer, guidance_scale double precision, provider text, provider_job_id text,
  model_provider text, input_spec jsonb, estimated_seconds double precision, order_key uuid, ordered_inputs jsonb,
  ordered_seconds_ago double precision, is_late boolean
)
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_settings batchgen.settings;
  v_room integer;
  v_held integer;
  v_depth integer := 2;
  v_ids uuid[];
  v_all uuid[] := '{}';
  v_used_up uuid[];
  v_picked uuid[];
  v_left_out uuid[] := '{}';
  v_goes_on boolean;
  v_is_paced boolean;
  v_closed uuid[] := '{}';
  v_tried uuid[] := '{}';
  v_probes uuid[] := '{}';
  v_is_first boolean := true;
  v_suspect uuid;
  v_is_its_turn boolean := false;
  v_is_drained boolean := false;
  v_has_others boolean;
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 10000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 10000', 'Ask for as many items as there are free slots.');
  end if;
  if current_setting('transaction_isolation') <> 'read committed' then
    -- Each statement below must see what the claim before it committed.
    raise exception using errcode = 'PT422', message = 'claim_generations needs READ COMMITTED';
  end if;

  perform pg_advisory_xact_lock(hashtextextended('batchgen.claim', 0));
  perform public.return_expired_leases();

  -- Delayed items whose time has come wait from now on.
  with due as (
    select q.generation_id from batchgen.queue q
    where q.state = 'delayed' and q.due_at <= clock_timestamp() for no key update skip locked
  ),
  promoted as (
    update batchgen.queue q set state = 'waiting' from due where q.generation_id = due.generation_id returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct p.user_id from promoted p;

  select exists (select from batchgen.providers p where p.not_before > clock_timestamp())
    or exists (select from batchgen.breakers b where b.opened_until is not null)
    or exists (select from batchgen.queue q where q.state = 'parked')
  into v_is_paced;
  if v_is_paced then
    select c.closed_ids, c.tried_ids into v_closed, v_tried from batchgen.closed_and_tried_models() c;
    perform batchgen.unpark(v_closed, v_tried);
  end if;

  loop
    perform batchgen.repair_ready_ranks(v_depth);
    if v_closed <> '{}' then
      perform batchgen.park(v_closed);
    end if;
    select s.* into v_settings from batchgen.settings s;
    select least(p_limit - cardinality(v_all), v_settings.max_parallel_global - count(*))::integer,
      count(*) filter (where q.worker = p_worker)
    into v_room, v_held from batchgen.queue q where q.state = 'running';
    exit when v_room <= 0;
    if v_is_first and exists (select from batchgen.queue q where q.is_suspect) then
      -- What a dead worker had runs alone (crash_suspects.sql).
      select p.suspect_id, p.is_its_turn, p.is_drained, p.has_others into v_suspect, v_is_its_turn, v_is_drained, v_has_others
      from batchgen.place_suspect(p_worker, v_held > 0, v_closed) p;
      exit when v_is_its_turn or v_is_drained;
    end if;
    v_is_first := false;
    if v_tried <> '{}' then
      v_probes := batchgen.pick_probes(v_tried, v_room, v_settings.max_parallel_per_user);
    end if;

    -- The rank already says that the user has room; counting once more makes the limit independent of any mark.
    -- Behind the last ranked row of a user there may be one that is due with the next rank: until that rank all is sure.
    with ready as materialized (
      select q.generation_id, q.user_id, q.priority, q.ready_rank, q.created_at, q.batch_index
      from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank <= v_settings.max_parallel_per_user
        and q.model_id <> all (v_closed) and q.model_id <> all (v_tried) and q.generation_id <> all (v_left_out)
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
      limit v_room - cardinality(v_probes) for no key update skip locked
    ),
    seen as materialized (
      select r.generation_id, r.user_id, r.priority, r.ready_rank,
        row_number() over (partition by r.user_id order by r.priority desc, r.created_at, r.batch_index, r.generation_id)
          + (select count(*) from batchgen.queue o where o.state = 'running' and o.user_id = r.user_id)
          + (select count(*) from batchgen.queue o where o.generation_id = any (v_probes) and o.user_id = r.user_id) as nth,
        r.ready_rank < v_settings.max_parallel_per_user
          and r.ready_rank = (select max(o.ready_rank) from batchgen.queue o where o.ready_rank > 0 and o.user_id = r.user_id) as is_last
      from ready r
    ),
    horizon as materialized (
      select -s.priority as priority, s.ready_rank from seen s where s.is_last order by s.priority desc, s.ready_rank limit 1
    )
    select array_agg(s.generation_id), array_agg(distinct s.user_id) filter (where s.is_last) into v_ids, v_used_up
    from seen s left join horizon h on true
    where s.nth <= v_settings.max_parallel_per_user
      and (h.priority is null or (-s.priority, s.ready_rank) <= (h.priority, h.ready_rank));
    v_picked := v_ids || v_probes;
    v_ids := batchgen.start_items(v_picked, p_worker, p_lease_seconds, v_held > 0);
    v_picked := array(select id from unnest(v_picked) id where id <> all (v_ids));
    v_left_out := v_left_out || v_picked;
    v_goes_on := v_picked <> '{}' or v_used_up is not null or v_probes <> '{}';

    if v_probes <> '{}' then
      update batchgen.breakers b set probe_lease_id = q.lease_id
      from batchgen.queue q
      where q.generation_id = any (v_probes) and q.generation_id = any (v_ids) and b.model_id = q.model_id;
      -- One is tried; the others of these models make way until it has ended.
      v_closed := v_closed || v_tried;
      v_tried := '{}';
      v_probes := '{}';
    end if;
    v_all := v_all || v_ids;
    exit when not v_goes_on;
    if v_used_up is not null then
      insert into batchgen.touched (user_id) select unnest(v_used_up);
      v_depth := least(v_depth * 2, 100000);
    end if;
  end loop;
  if v_suspect is not null and v_all <> '{}' then
    perform batchgen.note_turn(false);
  elsif v_suspect is not null and v_held = 0 and not v_is_drained then
    -- Its turn, or that of others, all of which somebody holds just now.
    v_all := batchgen.start_items(array[v_suspect], p_worker, p_lease_seconds, false);
    update batchgen.breakers b set probe_lease_id = q.lease_id
    from batchgen.queue q where q.generation_id = any (v_all) and b.model_id = q.model_id and b.model_id = any (v_tried);
    if v_has_others and v_is_its_turn and v_all <> '{}' then
      perform batchgen.note_turn(true);
    end if;
  end if;
  perform batchgen.note_worker(p_worker, p_lease_seconds);
  if v_all = '{}' then
    return;
  end if;

  update public.image_generations g
  set status = 'processing', error_message = null, error_code = null, completed_at = null, started_at = clock_timestamp(),
    seed = coalesce(g.seed, floor(random() * 2147483648)::bigint),
    -- Of an item without an owner its batch's (start_items takes no other).
    user_id = coalesce(g.user_id, (select b.user_id from public.batch_generations b where b.id = g.batch_id))
  where g.id = any (v_all);

  -- Of an item with an order that was begun: the order's own model, and not what the model's row has become since.
  return query
  select g.id, q.lease_id, q.lease_expires_at, least(r.retries, 1000000) + least(q.crash_count, 1000000) + 1, r.retries,
    g.user_id, g.batch_id, coalesce(g.batch_index, 0), g.prompt, g.negative_prompt, g.seed,
    case when o.key is null then coalesce(p.provider_model, left(m.replicate_id, 500), left(g.model, 500)) else o.provider_model end,
    case when o.key is null then coalesce(nullif(b.model_version, ''), p.provider_version) else o.provider_version end,
    coalesce(g.width, m.default_width, 1024), coalesce(g.height, m.default_height, 1024),
    coalesce(g.steps, m.default_steps), g.guidance_scale::double precision,
    coalesce(q.provider, o.provider), q.provider_job_id, coalesce(p.provider, 'offline'), p.inputs,
    coalesce(p.estimated_seconds, least(greatest(m.estimated_time_seconds, 0), 86400)::double precision), o.key, o.inputs,
    extract(epoch from clock_timestamp() - o.ordered_at)::double precision, coalesce(o.is_late, false)
  from public.image_generations g
  join batchgen.queue q on q.generation_id = g.id
  left join public.batch_generations b on b.id = g.batch_id
  left join public.models m on m.id = g.model_id
  left join batchgen.model_providers p on p.model_id = g.model_id
  left join batchgen.orders o on o.key = q.order_key
  cross join lateral (select greatest(coalesce(g.retry_count, 0), 0) as retries) r
  where g.id = any (v_all)
  order by q.priority desc, q.created_at, q.batch_index, q.generation_id;
end
$$;

revoke execute on function public.claim_generations(text, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.claim_generations(text, integer, integer) to service_role;
comment on function public.claim_generations(text, integer, integer) is
  'For workers: leases waiting generations, fairly and within the limits.';
