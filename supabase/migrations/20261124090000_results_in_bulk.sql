-- Results of many items in one call: complete_generations beside complete_generation, totals of many batches in one
-- statement, and items with a cancel request end as cancelled instead of waiting again. Two indexes that only cost go.

-- Running items are as few as max_parallel_global: batchgen.queue_running finds them all, and each lease among them.
-- squawk-ignore require-concurrent-index-deletion
drop index batchgen.queue_lease;
-- squawk-ignore require-concurrent-index-deletion
drop index batchgen.queue_lease_expiry;

create view batchgen.totals with (security_invoker = on) as
select b.id, greatest(b.total_count, c.total)::integer as total_count, c.completed::integer as completed_count,
  c.failed::integer as failed_count, s.status,
  case when s.status in ('completed', 'partial', 'failed') then coalesce(b.completed_at, clock_timestamp()) end as completed_at
from public.batch_generations b
cross join lateral (
  select count(*) as total,
    count(*) filter (where g.status = 'completed') as completed,
    count(*) filter (where g.status = 'failed') as failed,
    count(*) filter (where g.status = 'pending' and coalesce(g.retry_count, 0) = 0) as untouched
  from public.image_generations g where g.batch_id = b.id
) c
cross join lateral (
  select case
    when c.completed + c.failed < c.total then
      case when coalesce(b.status, 'pending') = 'pending' and c.untouched = c.total then 'pending' else 'processing' end
    when c.completed = 0 then 'failed'
    when c.failed = 0 then 'completed'
    else 'partial'
  end as status
) s;
comment on view batchgen.totals is 'What the totals of each batch should be: counted from its items, as they are now.';
revoke all on batchgen.totals from public, anon, authenticated, service_role;

create or replace function batchgen.with_totals(p_batch public.batch_generations) returns public.batch_generations
language plpgsql security definer set search_path = '' as $$
declare
  v_totals batchgen.totals;
begin
  select t.* into v_totals from batchgen.totals t where t.id = p_batch.id;
  p_batch.total_count := v_totals.total_count;
  p_batch.completed_count := v_totals.completed_count;
  p_batch.failed_count := v_totals.failed_count;
  p_batch.status := v_totals.status;
  p_batch.completed_at := v_totals.completed_at;
  return p_batch;
end
$$;

-- batchgen.refresh_batches(p_batch_ids)
-- Brings the totals of batches up to date, and writes those that have changed.
-- Caller: triggers. Locks: the batch rows, in the order of their ids; the items are read after that.
create or replace function batchgen.refresh_batches(p_batch_ids uuid[]) returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  perform 1 from public.batch_generations b where b.id = any (p_batch_ids) order by b.id for no key update;
  update public.batch_generations b
  set total_count = t.total_count, completed_count = t.completed_count, failed_count = t.failed_count,
    status = t.status, completed_at = t.completed_at
  from batchgen.totals t
  where t.id = any (p_batch_ids) and b.id = t.id
    and (t.total_count, t.completed_count, t.failed_count, t.status, t.completed_at)
      is distinct from (b.total_count, b.completed_count, b.failed_count, b.status, b.completed_at);
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
      crash_count = q.crash_count + p_crashed::integer,
      -- A job that failed is not resumed; one that was only left is.
      provider = case when not p_retried then q.provider end,
      provider_job_id = case when not p_retried then q.provider_job_id end
    where q.generation_id = any (p_generation_ids) and q.generation_id <> all (v_cancelled) and q.state = 'running'
    returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct user_id from back;
  update public.image_generations g
  set status = 'pending', retry_count = coalesce(g.retry_count, 0) + p_retried::integer
  where g.id = any (p_generation_ids) and g.id <> all (v_cancelled);
end
$$;

-- fail_generation(p_generation_id, p_lease_id, p_error)
-- p_error: {code, message, retryable, retry_after_seconds, provider, provider_fault}. Three ends:
--   retryable, with retry_after_seconds -> pending, due after that time; the provider asked to wait: that is no attempt
--   retryable, and retries left         -> pending, retry_count + 1, due after the next of settings.retry_delays_seconds
--   otherwise                           -> failed, with the message
-- One whose owner asked for its end is not tried again: failed, as cancelled.
-- A provider that asked to wait (retryable, retry_after_seconds) is asked by no worker before that time; provider names
-- it, by default the one of the item's job or model. provider_fault says what the model's breaker learns: true, one more
-- fault; false, the provider answered as it should; left out, nothing.
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
begin
  if jsonb_typeof(p_error) is distinct from 'object' then
    perform batchgen.refuse_argument('p_error', 'is not an object', 'Send {code, message, retryable, retry_after_seconds}.');
  end if;
  if jsonb_typeof(p_error -> 'retry_after_seconds') = 'number' then
    v_wait := least(greatest((p_error ->> 'retry_after_seconds')::numeric, 0), 86400)::double precision;
  elsif coalesce(jsonb_typeof(p_error -> 'retry_after_seconds'), 'null') <> 'null' then
    perform batchgen.refuse_argument('p_error.retry_after_seconds', 'is not a number', 'Give seconds as a number, or leave it out.');
  end if;

  v_item := batchgen.hold_lease(p_generation_id, p_lease_id);
  select s.* into v_settings from batchgen.settings s;
  select coalesce(g.retry_count, 0) into v_retry_count from public.image_generations g where g.id = p_generation_id;
  if v_retryable and v_item.cancel_requested then
    v_retryable := false;
    v_code := 'cancelled';
    v_message := 'Cancelled by user';
  end if;

  if v_retryable and v_wait is not null then
    -- A job that is attached already stays so: it is paid for, and only the question about it came too early.
    perform batchgen.take_back(array[p_generation_id], v_wait, false, false);
    perform batchgen.pause_provider(
      coalesce(nullif(p_error ->> 'provider', ''), v_item.provider, batchgen.provider_of(v_item.model_id)), v_wait, v_code
    );
  elsif v_retryable and v_retry_count < v_settings.max_retries then
    v_retry_count := v_retry_count + 1;
    v_wait := v_settings.retry_delays_seconds[least(v_retry_count, cardinality(v_settings.retry_delays_seconds))];
    perform batchgen.take_back(array[p_generation_id], v_wait, false, true);
  else
    perform batchgen.end_as_failed(array[p_generation_id], v_code, v_message);
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

-- batchgen.lock_items_within(p_generation_ids, p_seconds): as batchgen.lock_items, but not for ever. False: some are
-- still held by somebody else, and nothing is locked.
create function batchgen.lock_items_within(p_generation_ids uuid[], p_seconds double precision) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_end timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
begin
  loop
    begin
      perform 1 from public.batch_generations b
      where b.id in (select g.batch_id from public.image_generations g where g.id = any (p_generation_ids))
      order by b.id for no key update nowait;
      perform 1 from public.image_generations g where g.id = any (p_generation_ids) for no key update nowait;
      return true;
    exception when lock_not_available then
      exit when clock_timestamp() > v_end;
      perform pg_sleep(0.005);
    end;
  end loop;
  return false;
end
$$;
revoke execute on function batchgen.lock_items_within(uuid[], double precision) from public, anon, authenticated, service_role;
comment on function batchgen.lock_items_within(uuid[], double precision) is
  'Locks items and, before them, their batches, unless somebody else holds one of them for longer than that.';

-- batchgen.complete_items(p_results)
-- processing -> completed for each entry {generation_id, lease_id, result} whose lease is held: the item, its images
-- row, its tags and its batch's totals. A result's keys are columns of images; storage_path is required and must lie in
-- the owner's folder. Returns a row for each item that it completed; an entry without one has lost its lease.
-- PT422, and nothing is written, where a result does not fit. PT409 busy, and nothing is written, where somebody else
-- holds one of several items for longer than a second: sent one by one, each waits for itself. Plans as in the claim.
create function batchgen.complete_items(p_results jsonb) returns table (generation_id uuid, lease_id uuid, image_id uuid)
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_leases uuid[];
  v_models uuid[];
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
  select array_agg(held.generation_id), array_agg(held.lease_id), array_agg(distinct held.model_id)
  into v_ids, v_leases, v_models
  from (
    select q.generation_id, q.lease_id, q.model_id from batchgen.queue q
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
    format = n.format, width = n.width, height = n.height, file_size = n.file_size, blurhash = n.blurhash
  from unnest(v_images) n
  where i.id = (select j.id from public.images j where j.generation_id = n.generation_id order by j.created_at, j.id limit 1);
  insert into public.images (
    generation_id, user_id, filename, storage_path, prompt, public_url, negative_prompt, model, style, width, height, format, file_size, blurhash
  )
  select g.id, g.user_id, coalesce(nullif(n.filename, ''), regexp_replace(n.storage_path, '^.*/', '')), n.storage_path, g.prompt,
    n.public_url, g.negative_prompt, g.model, g.style, n.width, n.height, n.format, n.file_size, n.blurhash
  from unnest(v_images) n join public.image_generations g on g.id = n.generation_id
  where not exists (select from public.images j where j.generation_id = n.generation_id);
  -- All new words at once and in order: two calls that make the same ones wait for each other, and never in a circle.
  insert into public.tags (name)
  select distinct t.name from batchgen.generation_tags t where t.generation_id = any (v_ids) order by t.name
  on conflict do nothing;
  perform batchgen.tag_image(i.id, i.generation_id)
  from public.images i
  where i.generation_id in (select t.generation_id from batchgen.generation_tags t where t.generation_id = any (v_ids));

  -- The picture of each: the one that was there first, as above.
  return query
  select h.generation_id, h.lease_id,
    (select j.id from public.images j where j.generation_id = h.generation_id order by j.created_at, j.id limit 1)
  from unnest(v_ids, v_leases) h (generation_id, lease_id);

  update public.image_generations g
  set status = 'completed', error_message = null, completed_at = clock_timestamp(),
    generation_time_seconds = ceil(extract(epoch from clock_timestamp() - q.started_at))::integer
  from batchgen.queue q
  where g.id = any (v_ids) and q.generation_id = g.id;
  delete from batchgen.breakers b where b.model_id = any (v_models);
end
$$;
revoke execute on function batchgen.complete_items(jsonb) from public, anon, authenticated, service_role;

create or replace function public.complete_generation(p_generation_id uuid, p_lease_id uuid, p_result jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_image_id uuid;
begin
  select c.image_id into v_image_id
  from batchgen.complete_items(
    jsonb_build_array(jsonb_build_object('generation_id', p_generation_id, 'lease_id', p_lease_id, 'result', p_result))
  ) c;
  if v_image_id is null then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  return jsonb_build_object('image_id', v_image_id);
end
$$;

-- complete_generations(p_results): complete_generation for up to 1,000 items in one transaction. p_results is a list of
-- {generation_id, lease_id, result}. Returns a row for each item that was completed; one that is missing has lost its
-- lease: drop its result. PT422, and nothing is written, where a result does not fit: send them one by one then.
create function public.complete_generations(p_results jsonb) returns table (generation_id uuid, lease_id uuid, image_id uuid)
language plpgsql security definer set search_path = '' as $$
begin
  if jsonb_typeof(p_results) is distinct from 'array' or jsonb_array_length(p_results) > 1000 then
    perform batchgen.refuse_argument('p_results', 'is not a list of at most 1000 results', 'Send a list of {generation_id, lease_id, result}.');
  end if;
  return query select c.* from batchgen.complete_items(p_results) c;
end
$$;
revoke execute on function public.complete_generations(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.complete_generations(jsonb) to service_role;
comment on function public.complete_generations(jsonb) is
  'For workers: ends leased items as completed and records their pictures, many in one call.';

-- complete_and_claim(p_results, p_worker, p_limit, p_lease_seconds)
-- complete_generations, then claim_generations, in one transaction: the claim sees the room that the results made, and a
-- slot is refilled with no request of its own. -> {lease_ids: the leases whose items were completed, claims: as
-- claim_generations returns them, claim_error: {code, message} or null}. A claim that fails costs no result: what was
-- completed stays so, and claim_error says why nothing was claimed; with no results it is an error like any other.
-- Locks: the items and batches of the results, then as the claim, which waits for none.
create function public.complete_and_claim(p_results jsonb, p_worker text, p_limit integer, p_lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_lease_ids jsonb;
  v_claims jsonb := '[]';
  v_error jsonb;
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  select coalesce(jsonb_agg(c.lease_id), '[]') into v_lease_ids from public.complete_generations(p_results) c;
  begin
    if p_limit is distinct from 0 then
      select coalesce(jsonb_agg(to_jsonb(c)), '[]') into v_claims
      from public.claim_generations(p_worker, p_limit, p_lease_seconds) c;
    end if;
  exception when query_canceled or others then
    if p_results = '[]' then
      raise;
    end if;
    v_claims := '[]';
    v_error := jsonb_build_object('code', sqlstate, 'message', sqlerrm);
  end;
  return jsonb_build_object('lease_ids', v_lease_ids, 'claims', v_claims, 'claim_error', v_error);
end
$$;
revoke execute on function public.complete_and_claim(jsonb, text, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.complete_and_claim(jsonb, text, integer, integer) to service_role;
comment on function public.complete_and_claim(jsonb, text, integer, integer) is
  'For workers: records finished pictures and leases the next items, in one call and one JSON value.';
