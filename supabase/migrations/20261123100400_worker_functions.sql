-- What a worker may ask of the queue. All of it for service_role alone.
--
-- SQLSTATE PT409 (HTTP 409): the lease is not held any more; drop the result and write nothing.
-- SQLSTATE PT422 (HTTP 422): an argument is out of range; the message names it.

create function batchgen.lease_lost(p_generation_id uuid, p_lease_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT409',
    message = format('generation %s is not leased as %s any more', p_generation_id, p_lease_id),
    detail = jsonb_build_object('code', 'lease_lost', 'generation_id', p_generation_id, 'lease_id', p_lease_id)::text,
    hint = 'Drop the result: another worker owns the item, or it has ended.';
end
$$;
revoke execute on function batchgen.lease_lost(uuid, uuid) from public, anon, authenticated, service_role;

create function batchgen.refuse_argument(p_field text, p_problem text, p_remedy text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT422',
    message = format('%s %s', p_field, p_problem),
    detail = jsonb_build_object('code', 'invalid_argument', 'field', p_field, 'remedy', p_remedy)::text,
    hint = p_remedy;
end
$$;
revoke execute on function batchgen.refuse_argument(text, text, text) from public, anon, authenticated, service_role;

create function batchgen.check_worker_arguments(p_worker text, p_lease_seconds integer) returns void
language plpgsql set search_path = '' as $$
begin
  if p_worker is null or btrim(p_worker) = '' or length(p_worker) > 200 then
    perform batchgen.refuse_argument('p_worker', 'is empty or longer than 200 characters', 'Name the worker, for example host:pid.');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 86400 then
    perform batchgen.refuse_argument('p_lease_seconds', 'is not between 1 and 86400', 'Choose a lease of 1 second to 1 day.');
  end if;
end
$$;
revoke execute on function batchgen.check_worker_arguments(text, integer) from public, anon, authenticated, service_role;

-- batchgen.take_back(...)
-- The one way from running to waiting. The caller holds the generations' row locks, and each id stands at most once.
-- p_due_in_seconds: 0 = due now. p_crashed: the lease expired. p_retried: a failed attempt that counts.
create function batchgen.take_back(
  p_generation_ids uuid[], p_due_in_seconds double precision, p_crashed boolean, p_retried boolean
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  with back as (
    update batchgen.queue q
    set state = case when p_due_in_seconds > 0 then 'delayed' else 'waiting' end::batchgen.queue_state,
      due_at = clock_timestamp() + make_interval(secs => p_due_in_seconds),
      lease_id = null, lease_expires_at = null, worker = null, started_at = null,
      crash_count = q.crash_count + p_crashed::integer,
      -- A job that failed is not resumed; one that was only left is.
      provider = case when not p_retried then q.provider end,
      provider_job_id = case when not p_retried then q.provider_job_id end
    where q.generation_id = any (p_generation_ids) and q.state = 'running'
    returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct user_id from back;
  update public.image_generations g
  set status = 'pending', retry_count = coalesce(g.retry_count, 0) + p_retried::integer
  where g.id = any (p_generation_ids);
end
$$;
revoke execute on function batchgen.take_back(uuid[], double precision, boolean, boolean) from public, anon, authenticated, service_role;

-- batchgen.lock_items(p_generation_ids)
-- Locks items and, before them, their batches. It never waits for an item while it holds a batch, since an edit by hand
-- comes the other way round: then it lets go and begins again.
create function batchgen.lock_items(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  loop
    begin
      perform 1 from public.batch_generations b
      where b.id in (select g.batch_id from public.image_generations g where g.id = any (p_generation_ids))
      order by b.id for no key update;
      perform 1 from public.image_generations g where g.id = any (p_generation_ids) for no key update nowait;
      return;
    exception when lock_not_available then
      perform pg_sleep(0.005);
    end;
  end loop;
end
$$;
revoke execute on function batchgen.lock_items(uuid[]) from public, anon, authenticated, service_role;

-- return_expired_leases()
-- Takes back the items whose lease has ended: due again at once, or failed as 'crashed' after settings.max_crashes.
-- Returns how many. Caller: service_role, and every claim. Locks: skips what others hold, so it never waits.
create function public.return_expired_leases() returns integer
language plpgsql security definer set search_path = '' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_expired uuid[];
  v_poison uuid[];
  v_max_crashes integer := (select s.max_crashes from batchgen.settings s);
begin
  select array_agg(x.generation_id), array_agg(x.generation_id) filter (where x.crash_count + 1 >= v_max_crashes)
  into v_expired, v_poison
  from (
    select q.generation_id, q.crash_count
    from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    join public.batch_generations b on b.id = g.batch_id
    where q.state = 'running' and q.lease_expires_at <= clock_timestamp()
    for no key update of b, g, q skip locked
  ) x;
  if v_expired is null then
    return 0;
  end if;
  if v_poison is not null then
    perform batchgen.end_as_failed(v_poison, 'crashed', format('The worker stopped %s times while it made this picture.', v_max_crashes));
  end if;
  perform batchgen.take_back(array(select unnest(v_expired) except select unnest(v_poison)), 0, true, false);
  return cardinality(v_expired);
end
$$;
revoke execute on function public.return_expired_leases() from public, anon, authenticated, service_role;
grant execute on function public.return_expired_leases() to service_role;
comment on function public.return_expired_leases() is 'For workers: takes back items whose lease has ended.';

-- batchgen.repair_ready_ranks()
-- Brings the ready ranks of all touched users up to date: their first (max_parallel_per_user - running) waiting rows
-- carry the rank running + 1, running + 2, …; all other rows none. Caller: the claim, alone under its lock.
create function batchgen.repair_ready_ranks() returns void
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_users uuid[];
  v_cap integer;
  v_ids uuid[];
  v_ranks integer[];
  v_written integer;
begin
  with gone as (delete from batchgen.touched returning user_id)
  select array_agg(distinct user_id) into v_users from gone;
  if v_users is null then
    return;
  end if;
  -- Read after the marks: a changed limit touches its users, and whoever takes those away must know the new one.
  select s.max_parallel_per_user into v_cap from batchgen.settings s;

  with room as materialized (
    select u.user_id, (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = u.user_id)::integer as running
    from unnest(v_users) as u (user_id)
  ),
  wanted as materialized (
    select w.generation_id, w.ready_rank, room.running + w.nth as rank
    from room cross join lateral (
      select h.generation_id, h.ready_rank, (row_number() over (order by h.priority desc, h.created_at, h.batch_index, h.generation_id))::integer as nth
      from (
        select q.generation_id, q.ready_rank, q.priority, q.created_at, q.batch_index
        from batchgen.queue q where q.state = 'waiting' and q.user_id = room.user_id
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit greatest(v_cap - room.running, 0)
      ) h
    ) w
  ),
  unwanted as (
    select q.generation_id
    from room cross join lateral (
      select r.generation_id from batchgen.queue r where r.ready_rank > 0 and r.user_id = room.user_id offset 0
    ) q
    where q.generation_id not in (select generation_id from wanted)
  ),
  changed as (
    select generation_id, rank from wanted where ready_rank is distinct from rank
    union all
    select generation_id, null from unwanted
  )
  select array_agg(generation_id), array_agg(rank) into v_ids, v_ranks from changed;
  if v_ids is null then
    return;
  end if;

  -- Each list is joined with the table alone, by its key: two lists would be compared row by row.
  with free as (
    select q.generation_id, c.rank
    from unnest(v_ids, v_ranks) as c (generation_id, rank) join batchgen.queue q using (generation_id)
    for no key update of q skip locked
  )
  update batchgen.queue q set ready_rank = free.rank from free
  where q.generation_id = free.generation_id and q.state = 'waiting';
  get diagnostics v_written = row_count;
  if v_written < cardinality(v_ids) then
    -- Somebody else holds some of these rows just now: look at their users again next time.
    insert into batchgen.touched (user_id) select unnest(v_users);
  end if;
end
$$;
revoke execute on function batchgen.repair_ready_ranks() from public, anon, authenticated, service_role;

-- claim_generations(p_worker, p_limit, p_lease_seconds)
-- Leases up to p_limit waiting items: pending -> processing. Highest priority first; then a user's n-th running item
-- waits for every other user's n-th; then first in, first out. Never more than settings.max_parallel_per_user of one
-- user or settings.max_parallel_global in all: running items are counted here, under the lock, and nowhere kept.
-- Items whose provider or model is not to be asked now are parked, and come back when it is (provider_pacing.sql).
-- Caller: service_role. Locks: one claim at a time (advisory); rows that others hold are left out.
-- Plans are generic, and without sequential scans: a session keeps its plans, and may have made them while the queue was
-- empty. Without JIT, which such plans' guessed costs would start: compiling takes longer than a hundred claims. Without
-- sorts, so that the ready rows are read in order from their index and not all of them: the planner expects one row.
create function public.claim_generations(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  generation_id uuid, lease_id uuid, lease_expires_at timestamptz, attempt integer, retry_count integer, user_id uuid,
  batch_id uuid, batch_index integer, prompt text, negative_prompt text, seed bigint, model text, model_version text,
  width integer, height integer, steps integer, guidance_scale double precision, provider text, provider_job_id text
)
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_settings batchgen.settings;
  v_room integer;
  v_ids uuid[];
  v_batches uuid[];
  v_busy uuid[];
  v_is_paced boolean;
  v_closed uuid[] := '{}';
  v_tried uuid[] := '{}';
  v_probes uuid[] := '{}';
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
  perform batchgen.repair_ready_ranks();
  if v_closed <> '{}' then
    perform batchgen.park(v_closed);
  end if;

  select s.* into v_settings from batchgen.settings s;
  select least(p_limit, v_settings.max_parallel_global - count(*))::integer into v_room
  from batchgen.queue q where q.state = 'running';
  if v_room <= 0 then
    return;
  end if;
  if v_tried <> '{}' then
    v_probes := batchgen.pick_probes(v_tried, v_room, v_settings.max_parallel_per_user);
  end if;

  -- The rank already says that the user has room; counting once more makes the limit independent of any mark.
  select array_agg(picked.generation_id) into v_ids
  from (
    select p.generation_id,
      row_number() over (partition by p.user_id order by p.priority desc, p.created_at, p.batch_index, p.generation_id)
        + (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = p.user_id)
        + (select count(*) from batchgen.queue r where r.generation_id = any (v_probes) and r.user_id = p.user_id) as nth
    from (
      select q.generation_id, q.user_id, q.priority, q.created_at, q.batch_index
      from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank <= v_settings.max_parallel_per_user
        and q.model_id <> all (v_closed) and q.model_id <> all (v_tried)
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
      limit v_room - cardinality(v_probes) for no key update skip locked
    ) p
  ) picked
  where picked.nth <= v_settings.max_parallel_per_user;
  v_ids := array(select g.id from public.image_generations g where g.id = any (v_ids || v_probes) for no key update skip locked);
  -- A start opens a pending batch. One that somebody else holds just now is left for the next claim.
  v_batches := array(select g.batch_id from public.image_generations g where g.id = any (v_ids));
  with opened as (
    select b.id from public.batch_generations b
    where b.id = any (v_batches) and b.status = 'pending' for no key update skip locked
  )
  select array_agg(b.id) into v_busy
  from public.batch_generations b
  where b.id = any (v_batches) and b.status = 'pending' and b.id not in (select o.id from opened o);
  if v_busy is not null then
    v_ids := array(select g.id from public.image_generations g where g.id = any (v_ids) and g.batch_id <> all (v_busy));
  end if;
  if v_ids = '{}' then
    return;
  end if;

  update batchgen.queue q
  set state = 'running', ready_rank = null, lease_id = gen_random_uuid(), worker = p_worker, started_at = clock_timestamp(),
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds), cancel_requested = false
  where q.generation_id = any (v_ids);
  if v_probes <> '{}' then
    update batchgen.breakers b set probe_lease_id = q.lease_id
    from batchgen.queue q
    where q.generation_id = any (v_probes) and q.generation_id = any (v_ids) and b.model_id = q.model_id;
  end if;

  update public.image_generations g
  set status = 'processing', error_message = null, completed_at = null,
    seed = coalesce(g.seed, floor(random() * 2147483648)::bigint)
  where g.id = any (v_ids);

  return query
  select g.id, q.lease_id, q.lease_expires_at, coalesce(g.retry_count, 0) + q.crash_count + 1, coalesce(g.retry_count, 0),
    g.user_id, g.batch_id, coalesce(g.batch_index, 0), g.prompt, g.negative_prompt, g.seed, coalesce(m.replicate_id, g.model),
    nullif(b.model_version, ''), coalesce(g.width, m.default_width, 1024), coalesce(g.height, m.default_height, 1024),
    coalesce(g.steps, m.default_steps), g.guidance_scale::double precision, q.provider, q.provider_job_id
  from public.image_generations g
  join batchgen.queue q on q.generation_id = g.id
  left join public.batch_generations b on b.id = g.batch_id
  left join public.models m on m.id = g.model_id
  where g.id = any (v_ids)
  order by q.priority desc, q.created_at, q.batch_index, q.generation_id;
end
$$;
revoke execute on function public.claim_generations(text, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.claim_generations(text, integer, integer) to service_role;
comment on function public.claim_generations(text, integer, integer) is
  'For workers: leases up to p_limit waiting items, fairly and within the limits of batchgen.settings.';

-- renew_leases(p_worker, p_lease_ids, p_lease_seconds)
-- Prolongs leases from now on. Returns one row per lease still held; one that is missing is lost: stop and drop.
create function public.renew_leases(p_worker text, p_lease_ids uuid[], p_lease_seconds integer)
returns table (lease_id uuid, lease_expires_at timestamptz, cancel_requested boolean)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  return query
  with free as (
    select r.generation_id from batchgen.queue r
    where r.lease_id = any (p_lease_ids) and r.worker = p_worker and r.lease_expires_at > clock_timestamp()
    for no key update skip locked
  ),
  prolonged as (
    update batchgen.queue q
    set lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
    from free where q.generation_id = free.generation_id
    returning q.lease_id, q.lease_expires_at, q.cancel_requested
  )
  select p.lease_id, p.lease_expires_at, p.cancel_requested from prolonged p
  union all
  -- Another call holds the row just now, for example one that attaches a job: not lost, and prolonged next time.
  select r.lease_id, r.lease_expires_at, r.cancel_requested from batchgen.queue r
  where r.lease_id = any (p_lease_ids) and r.worker = p_worker and r.lease_expires_at > clock_timestamp()
    and r.lease_id not in (select p.lease_id from prolonged p);
  perform batchgen.note_worker(p_worker, p_lease_seconds);
end
$$;
revoke execute on function public.renew_leases(text, uuid[], integer) from public, anon, authenticated, service_role;
grant execute on function public.renew_leases(text, uuid[], integer) to service_role;
comment on function public.renew_leases(text, uuid[], integer) is 'For workers: prolongs leases; a lease that does not come back is lost.';

-- batchgen.hold_lease(p_generation_id, p_lease_id)
-- Locks the item and returns its queue row, or raises PT409 where the lease is not held: another one has been minted,
-- the item has ended, or the lease is past its end, even if nobody has taken the item over yet.
create function batchgen.hold_lease(p_generation_id uuid, p_lease_id uuid) returns batchgen.queue
language plpgsql security definer set search_path = '' as $$
declare
  v_item batchgen.queue;
begin
  perform batchgen.lock_items(array[p_generation_id]);
  select q.* into v_item from batchgen.queue q
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id and q.lease_expires_at > clock_timestamp() for update;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  return v_item;
end
$$;
revoke execute on function batchgen.hold_lease(uuid, uuid) from public, anon, authenticated, service_role;

-- attach_provider_job(...)
-- Remembers the provider's id of a job before anybody waits for it, so that whoever takes the item over resumes it.
create function public.attach_provider_job(p_generation_id uuid, p_lease_id uuid, p_provider text, p_provider_job_id text) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if coalesce(p_provider, '') = '' or coalesce(p_provider_job_id, '') = '' then
    perform batchgen.refuse_argument('p_provider_job_id', 'or p_provider is empty', 'Give the provider''s name and its id of the job.');
  end if;
  -- The queue row alone: an item or batch that somebody edits just now must not keep a paid job's id from being stored.
  update batchgen.queue q set provider = p_provider, provider_job_id = p_provider_job_id
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id and q.lease_expires_at > clock_timestamp();
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
end
$$;
revoke execute on function public.attach_provider_job(uuid, uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.attach_provider_job(uuid, uuid, text, text) to service_role;
comment on function public.attach_provider_job(uuid, uuid, text, text) is 'For workers: stores the provider''s job id of a leased item.';

-- complete_generation(p_generation_id, p_lease_id, p_result)
-- processing -> completed: the item, its images row, its tags and its batch's totals, all or nothing. p_result's keys
-- are columns of images; storage_path is required and must lie in the owner's folder. Plans as in the claim.
create function public.complete_generation(p_generation_id uuid, p_lease_id uuid, p_result jsonb) returns jsonb
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_item batchgen.queue;
  v_generation public.image_generations;
  v_image public.images;
  v_image_id uuid;
begin
  v_item := batchgen.hold_lease(p_generation_id, p_lease_id);
  select g.* into v_generation from public.image_generations g where g.id = p_generation_id;

  begin
    v_image := jsonb_populate_record(null::public.images, p_result);
  exception when others then
    perform batchgen.refuse_argument('p_result', format('does not fit the table images: %s', sqlerrm), 'Send an object whose keys are columns of images.');
  end;
  if coalesce(v_image.storage_path, '') = '' then
    perform batchgen.refuse_argument('p_result.storage_path', 'is missing', 'Store the picture first, then say where.');
  end if;
  if starts_with(v_image.storage_path, v_generation.user_id || '/') is not true or v_image.storage_path ~ '(^|/)(\.\.?)?(/|$)' then
    perform batchgen.refuse_argument('p_result.storage_path', 'is outside the owner''s folder', 'Use {user_id}/{generation_id}.{format}.');
  end if;

  -- One picture per generation: an item that was run again replaces its picture, and keeps what the user made of it.
  update public.images i
  set storage_path = v_image.storage_path, filename = coalesce(nullif(v_image.filename, ''), i.filename), public_url = v_image.public_url,
    format = v_image.format, width = v_image.width, height = v_image.height, file_size = v_image.file_size, blurhash = v_image.blurhash
  where i.id = (select j.id from public.images j where j.generation_id = p_generation_id order by j.created_at, j.id limit 1)
  returning i.id into v_image_id;
  if v_image_id is null then
    insert into public.images (
      generation_id, user_id, filename, storage_path, prompt, public_url, negative_prompt, model, style, width, height, format, file_size, blurhash
    ) values (
      p_generation_id, v_generation.user_id, coalesce(nullif(v_image.filename, ''), regexp_replace(v_image.storage_path, '^.*/', '')),
      v_image.storage_path, v_generation.prompt, v_image.public_url, v_generation.negative_prompt, v_generation.model,
      v_generation.style, v_image.width, v_image.height, v_image.format, v_image.file_size, v_image.blurhash
    ) returning id into v_image_id;
  end if;
  perform batchgen.tag_image(v_image_id, p_generation_id);

  update public.image_generations g
  set status = 'completed', error_message = null, completed_at = clock_timestamp(),
    generation_time_seconds = ceil(extract(epoch from clock_timestamp() - v_item.started_at))::integer
  where g.id = p_generation_id;
  perform batchgen.close_breaker(v_item.model_id);
  return jsonb_build_object('image_id', v_image_id);
end
$$;
revoke execute on function public.complete_generation(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.complete_generation(uuid, uuid, jsonb) to service_role;
comment on function public.complete_generation(uuid, uuid, jsonb) is 'For workers: ends a leased item as completed and records its picture.';

-- fail_generation(p_generation_id, p_lease_id, p_error)
-- p_error: {code, message, retryable, retry_after_seconds, provider, provider_fault}. Three ends:
--   retryable, with retry_after_seconds -> pending, due after that time; the provider asked to wait: that is no attempt
--   retryable, and retries left         -> pending, retry_count + 1, due after the next of settings.retry_delays_seconds
--   otherwise                           -> failed, with the message
-- A provider that asked to wait (retryable, retry_after_seconds) is asked by no worker before that time; provider names
-- it, by default the one of the item's job or model. provider_fault says what the model's breaker learns: true, one more
-- fault; false, the provider answered as it should; left out, nothing.
-- Returns {status, retry_count, retry_in_seconds}.
create function public.fail_generation(p_generation_id uuid, p_lease_id uuid, p_error jsonb) returns jsonb
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
revoke execute on function public.fail_generation(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.fail_generation(uuid, uuid, jsonb) to service_role;
comment on function public.fail_generation(uuid, uuid, jsonb) is 'For workers: ends an attempt of a leased item; it is tried again or fails.';

-- release_generations(p_worker, p_lease_ids)
-- processing -> pending, due at once: a planned shutdown hands items back. It costs no attempt, and a provider's job
-- stays attached for the next worker to resume. Returns one row per item handed back; PT409 where none was held.
create function public.release_generations(p_worker text, p_lease_ids uuid[])
returns table (generation_id uuid, lease_id uuid)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
declare
  v_ids uuid[];
  v_leases uuid[];
begin
  if coalesce(cardinality(p_lease_ids), 0) = 0 then
    return;
  end if;
  perform batchgen.lock_items(array(
    select q.generation_id from batchgen.queue q where q.lease_id = any (p_lease_ids) and q.worker = p_worker
  ));
  select array_agg(held.generation_id), array_agg(held.lease_id) into v_ids, v_leases
  from (
    select q.generation_id, q.lease_id from batchgen.queue q
    where q.lease_id = any (p_lease_ids) and q.worker = p_worker and q.lease_expires_at > clock_timestamp()
    order by q.generation_id for update
  ) held;
  if v_ids is null then
    perform batchgen.lease_lost(null, p_lease_ids[1]);
  end if;
  perform batchgen.take_back(v_ids, 0, false, false);
  return query select * from unnest(v_ids, v_leases);
end
$$;
revoke execute on function public.release_generations(text, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.release_generations(text, uuid[]) to service_role;
comment on function public.release_generations(text, uuid[]) is 'For workers: hands leased items back, unharmed.';
