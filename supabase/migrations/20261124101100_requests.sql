-- reopened_at(p_batch_id)
-- When items of an ended batch were last queued again; null if never.
-- Caller: batch_facts, for batches that it can see.
create function batchgen_api.reopened_at(p_batch_id uuid) returns timestamptz
language sql stable security definer set search_path = '' as $$
  select r.reopened_at from batchgen.reopened_batches r where r.batch_id = p_batch_id
$$;
revoke execute on function batchgen_api.reopened_at(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.reopened_at(uuid) to authenticated, service_role;
comment on function batchgen_api.reopened_at(uuid) is 'When items of an ended batch were last queued again.';

-- batch_facts(p_batch_ids)
-- [{id, cancelled, deleted, reopened_at}, …] for those of the first 1,000 ids that the caller may see. cancelled:
-- number of failed items that somebody cancelled; deleted: number of completed items without a picture.
-- Caller: authenticated, service_role; each sees what row level security shows.
create function public.batch_facts(p_batch_ids uuid[]) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', b.id,
      'cancelled', (
        select count(*) from public.image_generations g
        where g.batch_id = b.id and g.status = 'failed' and g.error_code = 'cancelled'
      ),
      'deleted', (
        select count(*) from public.image_generations g
        where g.batch_id = b.id and g.status = 'completed'
          and not exists (select from public.images i where i.generation_id = g.id)
      ),
      'reopened_at', batchgen_api.reopened_at(b.id)
    ))
    from public.batch_generations b where b.id = any (p_batch_ids[:1000])
  ), '[]')
$$;
revoke execute on function public.batch_facts(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.batch_facts(uuid[]) to authenticated, service_role;
comment on function public.batch_facts(uuid[]) is
  'For each batch: cancelled items, deleted pictures, and when items were queued again.';

-- batch_snapshot(p_batch_id)
-- {batch, generations: [{…, images: [{…, tags: […]}]}]}: a batch with its items and their pictures, all columns, in one
-- consistent JSON value; null if the caller sees no such batch. Joins by columns, because embedding by PostgREST is
-- ambiguous (PGRST201) if a project has a second foreign key between the tables, and max-rows cuts it off.
-- Caller: authenticated, service_role; each sees what row level security shows.
create function public.batch_snapshot(p_batch_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'batch', to_jsonb(b),
    'generations', coalesce((
      select jsonb_agg(
        to_jsonb(g) || jsonb_build_object('images', coalesce((
          select jsonb_agg(to_jsonb(i) || jsonb_build_object('tags', coalesce((
            select jsonb_agg(t.name order by t.name)
            from public.image_tags it join public.tags t on t.id = it.tag_id where it.image_id = i.id
          ), '[]')) order by i.created_at, i.id)
          from public.images i where i.generation_id = g.id
        ), '[]'))
        order by g.batch_index, g.id
      )
      from public.image_generations g where g.batch_id = b.id
    ), '[]')
  )
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function public.batch_snapshot(uuid) from public, anon, authenticated, service_role;
grant execute on function public.batch_snapshot(uuid) to authenticated, service_role;
comment on function public.batch_snapshot(uuid) is
  'A batch with its items and pictures, as the caller may see them, in one JSON value.';

-- waits_of(p_batch_ids)
-- The reason why each pending item of these batches does not run: the first that holds, in the order listed at
-- public.batch_waits. Reveals nothing but numbers about other users. Reads at most 1,000 ready items.
-- rounds: number of times that the user's slots, or all slots, must become free before the item starts; null if there
-- is no place, or a place of 1000. since: start of the longest-running item among those in front of it.
-- Long because it is one query: all of its answer holds at one moment.
create function batchgen.waits_of(p_batch_ids uuid[])
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer, rounds integer, since timestamptz)
language plpgsql stable security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_settings batchgen.settings;
  v_running_in_all integer;
  v_since timestamptz;
  v_is_worker_live boolean;
begin
  if not exists (
    select from public.image_generations g join batchgen.queue q on q.generation_id = g.id
    where g.batch_id = any (p_batch_ids) and q.state <> 'running'
  ) then
    return;
  end if;
  v_is_worker_live := exists (select from batchgen.live_workers);
  select s.* into v_settings from batchgen.settings s;
  select count(*), min(q.started_at) into v_running_in_all, v_since from batchgen.queue q where q.state = 'running';
  return query
  with closed as materialized (
    -- Of two reasons the longer one; a running probe counts as the shorter one.
    select distinct on (c.model_id) c.* from batchgen.closed_models() c order by c.model_id, c.until desc nulls last
  ),
  items as materialized (
    select q.* from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    where g.batch_id = any (p_batch_ids) and q.state <> 'running'
  ),
  users as materialized (
    select u.user_id, r.running, r.since
    from (select distinct i.user_id from items i) u
    cross join lateral (
      select count(*)::integer as running, min(q.started_at) as since
      from batchgen.queue q where q.state = 'running' and q.user_id = u.user_id
    ) r
  ),
  -- Ranks of the items among their users' own, as the next claim will see them.
  own as materialized (
    select w.generation_id, u.user_id, w.priority, w.created_at, w.batch_index,
      row_number() over (
        partition by u.user_id order by w.priority desc, w.created_at, w.batch_index, w.generation_id
      ) as nth, u.running
    from users u cross join lateral (
      select q.generation_id, q.priority, q.created_at, q.batch_index from batchgen.queue q
      where q.state = 'waiting' and not q.is_suspect and q.user_id = u.user_id
        and q.model_id not in (select c.model_id from closed c)
      order by q.priority desc, q.created_at, q.batch_index, q.generation_id limit 1000
    ) w
  ),
  -- Items that may be claimed before them: of each user with ready items, and of those whose ranks the next claim
  -- repairs, as many as their limit allows. At most 50 per user are counted.
  others as materialized (
    select t.user_id from (select user_id from batchgen.touched limit 1000) t
    union
    select r.user_id
    from (
      select q.user_id from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank is not null
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id limit 1000
    ) r
  ),
  ready as materialized (
    select o.user_id, w.priority, r.running + w.nth as rank, w.created_at, w.batch_index, w.generation_id
    from others o
    cross join lateral (
      select count(*) as running from batchgen.queue q where q.state = 'running' and q.user_id = o.user_id
    ) r
    cross join lateral (
      select h.*, row_number() over (order by h.priority desc, h.created_at, h.batch_index, h.generation_id) as nth
      from (
        select q.priority, q.created_at, q.batch_index, q.generation_id from batchgen.queue q
        where q.state = 'waiting' and not q.is_suspect and q.user_id = o.user_id
          and q.model_id not in (select c.model_id from closed c)
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit least(greatest(v_settings.max_parallel_per_user - r.running, 0), 50)
      ) h
    ) w
  ),
  placed as materialized (
    select o.generation_id, o.nth, least(1000, o.nth + (
      select count(*) from ready r
      where r.user_id <> o.user_id
        and (-r.priority, r.rank, r.created_at, r.batch_index, r.generation_id)
          < (-o.priority, o.running + o.nth, o.created_at, o.batch_index, o.generation_id)
    ))::integer as place
    from own o
  )
  select i.generation_id, why.reason,
    case why.reason
      when 'provider' then c.name
      when 'breaker' then concat_ws(': ', left(coalesce(c.name, m.display_name), 200),
        (select b.message from batchgen.breakers b where b.model_id = i.model_id))
      when 'retry' then case when i.wait_count > 2 then format('%s, told to wait %s times', i.fault_code,
        i.wait_count) end
    end,
    case why.reason when 'retry' then i.due_at when 'provider' then c.until when 'breaker' then c.until end,
    case why.reason when 'own_cap' then u.running when 'total_cap' then v_running_in_all end,
    case why.reason
      when 'own_cap' then v_settings.max_parallel_per_user when 'total_cap' then v_settings.max_parallel_global
    end,
    case when why.reason in ('own_cap', 'total_cap', 'queue') then
      case when i.state = 'waiting' and not i.is_suspect then coalesce(p.place, 1000) end
    end,
    case when why.reason in ('own_cap', 'total_cap', 'queue') and p.place < 1000 then greatest(
      (u.running + p.nth - 1) / v_settings.max_parallel_per_user,
      (v_running_in_all + p.place - 1) / v_settings.max_parallel_global
    )::integer end,
    coalesce(u.since, v_since)
  from items i
  join users u on u.user_id = i.user_id
  left join closed c on c.model_id = i.model_id
  left join public.models m on m.id = i.model_id
  left join placed p on p.generation_id = i.generation_id
  cross join lateral (
    select case
      when i.state = 'delayed' and i.due_at > clock_timestamp() and (c.reason is null or i.due_at > c.until)
        then 'retry'
      when c.reason is not null then c.reason
      -- The breaker lets one item probe the model, which need not be this one.
      when exists (select from batchgen.breakers b where b.model_id = i.model_id and b.opened_until is not null)
        then 'breaker'
      when not v_is_worker_live
        and i.due_at <= clock_timestamp() - make_interval(secs => v_settings.worker_silence_seconds)
        then 'no_worker'
      when u.running >= v_settings.max_parallel_per_user then 'own_cap'
      when v_running_in_all >= v_settings.max_parallel_global then 'total_cap'
      when i.is_suspect then 'runs_alone'
      else 'queue'
    end as reason
  ) why
  order by i.batch_index, i.generation_id;
end
$$;
revoke execute on function batchgen.waits_of(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.waits_of(uuid[]) is 'The reasons why pending items of batches do not run yet.';

create function batchgen_api.waits_of_any_batch(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer)
language plpgsql stable security definer set search_path = '' as $$
begin
  return query
  select w.generation_id, w.reason, w.detail, w."until", w.running, w.cap, w."position"
  from batchgen.waits_of(array[p_batch_id]) w;
end
$$;
revoke execute on function batchgen_api.waits_of_any_batch(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.waits_of_any_batch(uuid) to service_role;
comment on function batchgen_api.waits_of_any_batch(uuid) is 'Behind public.batch_waits: for operators.';

create function batchgen_api.batch_waits(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer)
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from public.batch_generations b where b.id = p_batch_id and b.user_id = auth.uid()) then
    perform batchgen.refuse('batch_not_found', 'Batch not found, or it belongs to another user.', 'p_batch_id',
      'Use the id of one of your batches.', null, null, 'PT404');
  end if;
  return query select * from batchgen_api.waits_of_any_batch(p_batch_id);
end
$$;
revoke execute on function batchgen_api.batch_waits(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.batch_waits(uuid) to authenticated;
comment on function batchgen_api.batch_waits(uuid) is 'Behind public.batch_waits: for the batch''s owner.';

-- batch_waits(p_batch_id)
-- One row per pending item of the batch, with the reason why it does not run:
--   retry      an attempt failed, or the provider asked to wait: due at until; detail tells about repeated waits
--   provider   the provider (detail) asked all workers to wait until then
--   breaker    the model (detail) failed repeatedly: nothing starts before until, which is empty while a probe runs
--   no_worker  it has been due for settings.worker_silence_seconds, and no worker was seen for as long
--   own_cap    its user has reached the limit of running items (running of cap)
--   total_cap  the limit of all running items is reached (running of cap)
--   runs_alone a worker died while it ran the item: it waits for a worker that runs nothing else
--   queue      other items come first
-- position: place in claim order, from 1, for own_cap, total_cap and queue; 1000 means 1000 or more.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.batch_waits(p_batch_id uuid)
returns table (generation_id uuid, reason text, detail text, "until" timestamptz, running integer, cap integer,
  "position" integer)
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.waits_of_any_batch(uuid)', 'execute') then
    return query select * from batchgen_api.waits_of_any_batch(p_batch_id);
  else
    return query select * from batchgen_api.batch_waits(p_batch_id);
  end if;
end
$$;
revoke execute on function public.batch_waits(uuid) from public, anon, authenticated, service_role;
grant execute on function public.batch_waits(uuid) to authenticated, service_role;
comment on function public.batch_waits(uuid) is 'The reasons why pending items of a batch do not run yet.';

-- check_request(p_request, p_settings)
-- Refuse a request that is not an object, or larger than any valid one: room for every field at its maximum length, and
-- for fields that are ignored.
-- Caller: repeated_batch. Errors: PT422.
create function batchgen.check_request(p_request jsonb, p_settings batchgen.settings) returns void
language plpgsql set search_path = '' as $$
declare
  v_most integer := 65536 + p_settings.max_batch_size * (8 * p_settings.max_prompt_characters + 8192);
begin
  if pg_column_size(p_request) > v_most then
    perform batchgen.refuse('too_large', format('The request is larger than %s bytes.', v_most), 'request',
      'Send only the documented fields.', null, to_jsonb(v_most));
  end if;
  if jsonb_typeof(p_request) is distinct from 'object' then
    perform batchgen.refuse('wrong_type', 'The request is not an object.', 'request',
      'Send {prompts, shared_settings, batch_name}.');
  end if;
end
$$;
revoke execute on function batchgen.check_request(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.check_request(jsonb, batchgen.settings) is
  'Refuses a request that is not an object, or larger than any valid one.';

-- batch_answer(p_batch_id)
-- A batch and its items as create_batch returns them.
create function batchgen.batch_answer(p_batch_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('batch', jsonb_build_object(
    'id', b.id, 'name', b.name, 'total_count', b.total_count, 'status', b.status,
    'generations', coalesce((
      select jsonb_agg(jsonb_build_object('id', g.id, 'index', g.batch_index, 'prompt', g.prompt, 'status', g.status,
        'seed', g.seed) order by g.batch_index)
      from public.image_generations g where g.batch_id = b.id
    ), '[]')
  ))
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function batchgen.batch_answer(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.batch_answer(uuid) is 'A batch and its items as create_batch returns them.';

-- request_hash(p_request)
-- 128-bit hash of a request. Computed from jsonb, never from its text: a number of ten bytes in jsonb may be a hundred
-- thousand characters as text.
create function batchgen.request_hash(p_request jsonb) returns bytea
language sql immutable set search_path = '' as $$
  select int8send(jsonb_hash_extended(p_request, 0)) || int8send(jsonb_hash_extended(p_request, 1))
$$;
revoke execute on function batchgen.request_hash(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.request_hash(jsonb) is
  'Hash that tells whether a client_key comes with the same request again.';

-- repeated_batch(p_user_id, p_request)
-- The batch that an earlier request with the same client_key and the same body made; null if there is none.
-- Caller: create_batch_for, preview_batch_for, before they read the rest of the request.
-- Errors: PT422 if the request is too large, no object, or its client_key invalid; PT409 if the client_key belongs to
-- another request.
create function batchgen.repeated_batch(p_user_id uuid, p_request jsonb) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_client_key text;
  v_known batchgen.requests;
begin
  select s.* into v_settings from batchgen.settings s;
  perform batchgen.check_request(p_request, v_settings);
  v_client_key := batchgen.read_client_key(p_request);
  if v_client_key is null then
    return null;
  end if;
  select r.* into v_known from batchgen.requests r where r.user_id = p_user_id and r.client_key = v_client_key;
  if v_known.body_hash <> batchgen.request_hash(p_request - 'client_key') then
    perform batchgen.refuse('client_key_reused', 'client_key was used before for another request.', 'client_key',
      'Use a new client_key for a new request; send the same body to get the same batch.', null, null, 'PT409');
  end if;
  return v_known.batch_id;
end
$$;
revoke execute on function batchgen.repeated_batch(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.repeated_batch(uuid, jsonb) is
  'The batch of a repeated request; refuses another request with the same client_key.';

-- note_client_key(p_user_id, p_request)
-- Record the request's client_key, if it has one. False if another request with that key was committed first.
-- Locks: the client_key's row, so that a repeated request waits for the first.
create function batchgen.note_client_key(p_user_id uuid, p_request jsonb) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_client_key text := batchgen.read_client_key(p_request);
begin
  if v_client_key is null then
    return true;
  end if;
  insert into batchgen.requests (user_id, client_key, body_hash)
  values (p_user_id, v_client_key, batchgen.request_hash(p_request - 'client_key'))
  on conflict do nothing;
  return found;
end
$$;
revoke execute on function batchgen.note_client_key(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.note_client_key(uuid, jsonb) is
  'Records the client_key of a request; false if another request with it came first.';

create function batchgen_api.create_batch(p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return batchgen.create_batch_for(auth.uid(), p_request);
end
$$;
revoke execute on function batchgen_api.create_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.create_batch(jsonb) to authenticated;
comment on function batchgen_api.create_batch(jsonb) is 'Behind public.create_batch: for the signed-in user.';

-- create_batch(p_request)
-- Submit a batch: {prompts: [{text, negative_prompt?, seed?, tags?}], shared_settings?: {model_id, model_version,
-- width, height, steps, guidance_scale}, batch_name?, client_key?} -> {batch: {id, name, total_count, status,
-- generations: [{id, index, prompt, status, seed}]}}.
-- Caller: authenticated, for themselves. anon may call it only to get a clear error: PT401 not_signed_in.
create function public.create_batch(p_request jsonb) returns jsonb
language plpgsql set search_path = '' as $$
begin
  -- anon may not use the schema of batchgen.refuse, so the error is raised here.
  if auth.uid() is null then
    raise exception using errcode = 'PT401', message = 'You are not signed in.', hint = 'Sign in, then try again.',
      detail = jsonb_build_object(
        'code', 'not_signed_in', 'message', 'You are not signed in.', 'index', null, 'field', null, 'limit', null,
        'remedy', 'Sign in, then try again.'
      )::text;
  end if;
  return batchgen_api.create_batch(p_request);
end
$$;
revoke execute on function public.create_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_batch(jsonb) to anon, authenticated;
comment on function public.create_batch(jsonb) is 'Submits a batch of prompts for the signed-in user.';

-- create_batch_as(p_user_id, p_request)
-- create_batch for an operator who acts for a user.
-- Caller: service_role.
create function public.create_batch_as(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('unknown_user', 'p_user_id is not a user of this project.', 'p_user_id',
      'Use the id of a row in auth.users.');
  end if;
  return batchgen.create_batch_for(p_user_id, p_request);
end
$$;
revoke execute on function public.create_batch_as(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_batch_as(uuid, jsonb) to service_role;
comment on function public.create_batch_as(uuid, jsonb) is 'For operators: submits a batch of prompts for a user.';

-- create_batch_for(p_user_id, p_request)
-- Read and check the whole request, then write the batch, its items and (by trigger) their queue rows in this
-- transaction. A repeated client_key returns the same batch and counts against no limit. Returns batch_answer.
-- Caller: create_batch, create_batch_as.
-- States: none -> batch pending, items pending.
-- Locks: the user's row in auth.users; the client_key's row, so that a repeated request waits for the first; then the
-- locks of batchgen.take_from_limits.
-- Errors: those of repeated_batch and read_batch; PT429 if a limit is reached; PT402 if the items cost more credits
-- than the user has; PT401 if the user is deleted.
create function batchgen.create_batch_for(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_again uuid := batchgen.repeated_batch(p_user_id, p_request);
  v_client_key text := batchgen.read_client_key(p_request);
  v_read batchgen.requested_batch;
  v_batch public.batch_generations;
  v_items batchgen.requested_item[];
begin
  if v_again is not null then
    return batchgen.batch_answer(v_again);
  end if;
  v_read := batchgen.read_batch(p_user_id, p_request);
  v_batch := v_read.batch;
  v_items := batchgen.choose_seeds(v_read.items);

  perform batchgen.hold_user(p_user_id);
  if not batchgen.note_client_key(p_user_id, p_request) then
    -- The same request was sent twice at once, and the other one has just been committed.
    return batchgen.batch_answer(batchgen.repeated_batch(p_user_id, p_request));
  end if;
  perform batchgen.take_from_limits(p_user_id, cardinality(v_items));
  perform batchgen.check_cost_and_tags(v_batch, v_items);

  v_batch.id := gen_random_uuid();
  perform batchgen.write_batch(v_batch, v_items);
  update batchgen.requests r set batch_id = v_batch.id where r.user_id = p_user_id and r.client_key = v_client_key;
  return batchgen.batch_answer(v_batch.id);
end
$$;
revoke execute on function batchgen.create_batch_for(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.create_batch_for(uuid, jsonb) is
  'Validates a whole request, counts it against the limits, then writes the batch and its items.';

-- read_batch(p_user_id, p_request)
-- Read and check the whole request: the batch, without an id, and its items, after its template was filled in and its
-- choices and variations were expanded; an item's seed is null where the request has none. sample_seed: that of a
-- sample of its choices. Writes nothing and looks at no limit, so that create_batch and preview_batch agree.
-- Caller: create_batch_for, preview_batch_for, after repeated_batch.
-- Errors: PT422 for the first rule that the request breaks.
create function batchgen.read_batch(p_user_id uuid, p_request jsonb) returns batchgen.requested_batch
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_request jsonb;
  v_choices jsonb;
  v_read batchgen.requested_batch;
begin
  select s.* into v_settings from batchgen.settings s;
  v_request := batchgen.request_from_template(p_user_id, p_request, v_settings);
  perform batchgen.count_prompts(p_user_id, v_request, v_settings);
  perform batchgen.refuse_unknown_fields(v_request, '',
    '{prompts,shared_settings,batch_name,client_key,choices,variations,template}');
  v_read.batch := batchgen.read_shared_settings(v_request, v_settings);
  v_read.batch.user_id := p_user_id;
  v_choices := batchgen.read_choices(v_request, v_settings);
  v_read.sample_seed := case when v_choices ->> 'mode' = 'sample' then (v_choices ->> 'seed')::bigint end;
  v_read.items := batchgen.expand_items(batchgen.read_prompts(v_request -> 'prompts', v_settings), v_choices,
    batchgen.read_variations(v_request, v_settings), v_settings, p_user_id);
  return v_read;
end
$$;
revoke execute on function batchgen.read_batch(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_batch(uuid, jsonb) is 'Reads and checks a whole request; writes nothing.';

-- check_cost_and_tags(p_batch, p_items)
-- Refuse items that cost more credits than the user has, and new tags beyond the user's maximum.
-- Caller: create_batch_for and in_the_way, after the limits.
-- Errors: PT402, PT429.
create function batchgen.check_cost_and_tags(
  p_batch public.batch_generations, p_items batchgen.requested_item[]
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if (select s.credits from batchgen.settings s) then
    perform batchgen.refuse_short_credits(
      p_batch.user_id, cardinality(p_items) * batchgen.price_of(p_batch.user_id, p_batch.model_id::uuid)
    );
  end if;
  perform batchgen.check_new_tags(p_batch.user_id, batchgen.tags_of(p_items));
end
$$;
revoke execute on function batchgen.check_cost_and_tags(public.batch_generations, batchgen.requested_item[])
from public, anon, authenticated, service_role;
comment on function batchgen.check_cost_and_tags(public.batch_generations, batchgen.requested_item[]) is
  'Refuses items that cost too many credits, or that need too many new tags.';

create function batchgen.tags_of(p_items batchgen.requested_item[]) returns text[]
language sql immutable set search_path = '' as $$
  select array(select t.name from unnest(p_items) i, unnest(i.tags) t (name))
$$;
revoke execute on function batchgen.tags_of(batchgen.requested_item[])
from public, anon, authenticated, service_role;
comment on function batchgen.tags_of(batchgen.requested_item[]) is 'The tags of requested items, with duplicates.';

-- Steps of read_batch and create_batch_for. Each refuses invalid input with PT422.

-- count_prompts(p_user_id, p_request, p_settings)
-- Number of prompts. Refuse if there is no list, or if a batch of the user may not have that many or that few. With
-- choices or variations, expand_items checks whether they are too few.
create function batchgen.count_prompts(p_user_id uuid, p_request jsonb, p_settings batchgen.settings) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_prompts jsonb := p_request -> 'prompts';
  v_count integer;
  v_most integer := batchgen.max_batch_size_of(p_user_id);
begin
  if coalesce(jsonb_typeof(v_prompts), 'null') = 'null' then
    perform batchgen.refuse('prompts_missing', 'prompts is missing.', 'prompts',
      format('Send a list of %s to %s prompts.', p_settings.min_batch_size, p_settings.max_batch_size));
  end if;
  if jsonb_typeof(v_prompts) <> 'array' then
    perform batchgen.refuse('wrong_type', 'prompts is not a list.', 'prompts',
      'Send a list of {text, negative_prompt, seed, tags}.');
  end if;
  v_count := jsonb_array_length(v_prompts);
  if v_count < p_settings.min_batch_size
    and coalesce(nullif(p_request -> 'choices', 'null'), nullif(p_request -> 'variations', 'null')) is null
  then
    perform batchgen.refuse('too_few_prompts',
      format('A batch has at least %s prompts; this one has %s.', p_settings.min_batch_size, v_count), 'prompts',
      format('Send %s to %s prompts.', p_settings.min_batch_size, p_settings.max_batch_size), null,
      to_jsonb(p_settings.min_batch_size));
  end if;
  if v_count > v_most then
    perform batchgen.refuse('too_many_prompts',
      format('A batch has at most %s prompts; this one has %s.', v_most, v_count), 'prompts',
      'Split it into several batches.', null, to_jsonb(v_most));
  end if;
  return v_count;
end
$$;
revoke execute on function batchgen.count_prompts(uuid, jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.count_prompts(uuid, jsonb, batchgen.settings) is
  'Number of prompts in a request; refuses too few and too many.';

-- write_batch(p_batch, p_items)
-- Write a batch and its items.
-- States: none -> batch pending, items pending; a trigger queues the items.
create function batchgen.write_batch(
  p_batch public.batch_generations, p_items batchgen.requested_item[]
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.batch_generations (
    id, user_id, name, total_count, completed_count, failed_count, status, model_id, model_version, width, height,
    steps, guidance_scale
  ) values (
    p_batch.id, p_batch.user_id, p_batch.name, cardinality(p_items), 0, 0, 'pending', p_batch.model_id,
    p_batch.model_version, p_batch.width, p_batch.height, p_batch.steps, p_batch.guidance_scale
  );
  with written as (
    insert into public.image_generations (
      user_id, prompt, negative_prompt, model, model_id, width, height, steps, guidance_scale, seed, status, batch_id,
      batch_index, retry_count, priority
    )
    select p_batch.user_id, i.prompt, i.negative_prompt, m.name, p_batch.model_id::uuid, p_batch.width, p_batch.height,
      p_batch.steps, p_batch.guidance_scale, i.seed, 'pending', p_batch.id, i.batch_index, 0, 0
    from unnest(p_items) i left join public.models m on m.id = p_batch.model_id::uuid
    returning id, batch_index
  )
  insert into batchgen.generation_tags (generation_id, name)
  select w.id, t.name from written w join unnest(p_items) i on i.batch_index = w.batch_index
  cross join unnest(i.tags) t (name);
end
$$;
revoke execute on function batchgen.write_batch(public.batch_generations, batchgen.requested_item[])
from public, anon, authenticated, service_role;
comment on function batchgen.write_batch(public.batch_generations, batchgen.requested_item[]) is
  'Writes a batch and its items.';

-- Parsing of a create_batch request: each function reads one part and refuses invalid input (PT422).

-- read_number(p_value, p_field, p_min, p_max, p_whole, p_index)
-- A number of the request; null if missing. p_whole: no fraction allowed.
create function batchgen.read_number(
  p_value jsonb, p_field text, p_min numeric, p_max numeric, p_whole boolean, p_index integer default null
) returns numeric
language plpgsql set search_path = '' as $$
declare
  v_number numeric;
  v_kind text := case when p_whole then 'a whole number' else 'a number' end;
begin
  if coalesce(jsonb_typeof(p_value), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(p_value) = 'number' then
    v_number := p_value::text::numeric;
  end if;
  if v_number is null or (p_whole and v_number <> trunc(v_number)) then
    perform batchgen.refuse('wrong_type', format('%s is not %s.', p_field, v_kind), p_field,
      format('Send %s from %s to %s, or leave it out.', v_kind, p_min, p_max), p_index,
      jsonb_build_object('min', p_min, 'max', p_max));
  end if;
  if v_number not between p_min and p_max then
    perform batchgen.refuse('out_of_range',
      format('%s is out of range: it must be from %s to %s.', p_field, p_min, p_max), p_field,
      format('Choose %s from %s to %s.', v_kind, p_min, p_max), p_index,
      jsonb_build_object('min', p_min, 'max', p_max));
  end if;
  return v_number;
end
$$;
revoke execute on function batchgen.read_number(jsonb, text, numeric, numeric, boolean, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.read_number(jsonb, text, numeric, numeric, boolean, integer) is
  'A number of a request, checked; null if missing.';

-- read_text(p_value, p_field, p_max, p_index)
-- A string of the request; null if missing. The length is checked first, so that a huge value costs nothing.
create function batchgen.read_text(
  p_value jsonb, p_field text, p_max integer, p_index integer default null
) returns text
language plpgsql set search_path = '' as $$
declare
  v_text text;
begin
  if coalesce(jsonb_typeof(p_value), 'null') = 'null' then
    return null;
  end if;
  if jsonb_typeof(p_value) <> 'string' then
    perform batchgen.refuse('wrong_type', format('%s is not a string.', p_field), p_field, 'Send a string.', p_index);
  end if;
  v_text := p_value #>> '{}';
  if length(v_text) > p_max then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field,
      length(v_text), p_max), p_field,
      format('Shorten it to %s characters.', p_max), p_index, to_jsonb(p_max));
  end if;
  return v_text;
end
$$;
revoke execute on function batchgen.read_text(jsonb, text, integer, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.read_text(jsonb, text, integer, integer) is
  'A string of a request, checked; null if missing.';

-- read_tags(p_tags, p_index)
-- The tags of one prompt: trimmed, lower case, without duplicates.
create function batchgen.read_tags(p_tags jsonb, p_index integer) returns text[]
language plpgsql set search_path = '' as $$
declare
  v_field text := format('prompts[%s].tags', p_index);
  v_tag jsonb;
  v_name text;
  v_names text[] := array[]::text[];
begin
  if coalesce(jsonb_typeof(p_tags), 'null') = 'null' then
    return v_names;
  end if;
  if jsonb_typeof(p_tags) <> 'array' then
    perform batchgen.refuse('wrong_type', format('%s is not a list.', v_field), v_field, 'Send a list of strings.',
      p_index);
  end if;
  if jsonb_array_length(p_tags) > 20 then
    perform batchgen.refuse('too_many_tags',
      format('%s has %s tags; at most 20 are allowed.', v_field, jsonb_array_length(p_tags)), v_field,
      'Send at most 20 tags.', p_index, to_jsonb(20));
  end if;
  for v_tag in select value from jsonb_array_elements(p_tags) loop
    v_name := lower(btrim(batchgen.read_text(v_tag, v_field, 50, p_index), E' \t\r\n'));
    v_name := batchgen.check_tag_name(v_name, v_field, p_index);
    if v_name is null or batchgen.is_blank(v_name) then
      perform batchgen.refuse('blank_tag', format('%s has an empty tag.', v_field), v_field, 'Leave the tag out.',
        p_index);
    end if;
    if not v_name = any (v_names) then
      v_names := v_names || v_name;
    end if;
  end loop;
  return v_names;
end
$$;
revoke execute on function batchgen.read_tags(jsonb, integer) from public, anon, authenticated, service_role;
comment on function batchgen.read_tags(jsonb, integer) is
  'The tags of a prompt: trimmed, lower case, without duplicates.';

-- read_client_key(p_request)
-- The client_key of the request; null if missing.
create function batchgen.read_client_key(p_request jsonb) returns text
language plpgsql set search_path = '' as $$
declare
  v_client_key text := batchgen.read_text(p_request -> 'client_key', 'client_key', 200);
begin
  if batchgen.is_blank(v_client_key) then
    perform batchgen.refuse('blank_client_key', 'client_key is empty.', 'client_key',
      'Send a value that is unique to this request, for example a UUID, or leave it out.');
  end if;
  return v_client_key;
end
$$;
revoke execute on function batchgen.read_client_key(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_client_key(jsonb) is 'The client_key of a request; null if missing.';

-- read_shared_settings(p_request, p_settings)
-- The request's batch_name and shared_settings as an unwritten row of batch_generations: model, version, size, steps
-- and guidance scale, with the model's defaults for missing ones.
create function batchgen.read_shared_settings(
  p_request jsonb, p_settings batchgen.settings
) returns public.batch_generations
language plpgsql set search_path = '' as $$
declare
  v_shared jsonb := p_request -> 'shared_settings';
  v_model public.models;
  v_batch public.batch_generations;
begin
  if coalesce(jsonb_typeof(v_shared), 'null') not in ('null', 'object') then
    perform batchgen.refuse('wrong_type', 'shared_settings is not an object.', 'shared_settings',
      'Send {model_id, model_version, width, height, steps, guidance_scale}, or leave it out.');
  end if;
  if jsonb_typeof(v_shared) = 'object' then
    perform batchgen.refuse_unknown_fields(v_shared, 'shared_settings.',
      '{model_id,model_version,width,height,steps,guidance_scale}');
  end if;
  v_batch.name := batchgen.read_text(p_request -> 'batch_name', 'batch_name', 200);
  if batchgen.is_blank(v_batch.name) then
    v_batch.name := null;
  end if;
  v_model := batchgen.find_model(batchgen.read_text(v_shared -> 'model_id', 'shared_settings.model_id', 200));
  v_batch.model_id := v_model.id::text;
  v_batch.model_version :=
    nullif(batchgen.read_text(v_shared -> 'model_version', 'shared_settings.model_version', 200), '');
  v_batch.width := coalesce(batchgen.read_number(v_shared -> 'width', 'shared_settings.width',
    coalesce(v_model.min_width, 16), coalesce(v_model.max_width, 4096), true), v_model.default_width, 1024);
  v_batch.height := coalesce(batchgen.read_number(v_shared -> 'height', 'shared_settings.height',
    coalesce(v_model.min_height, 16), coalesce(v_model.max_height, 4096), true), v_model.default_height, 1024);
  v_batch.steps := coalesce(batchgen.read_number(v_shared -> 'steps', 'shared_settings.steps',
    1, coalesce(v_model.max_steps, 200), true), v_model.default_steps);
  -- Rounded: a number too close to zero for double precision would raise an error.
  v_batch.guidance_scale := coalesce(
    round(batchgen.read_number(v_shared -> 'guidance_scale', 'shared_settings.guidance_scale',
      0, p_settings.max_guidance_scale::numeric, false), 100)::double precision,
    v_model.default_guidance_scale
  );
  return v_batch;
end
$$;
revoke execute on function batchgen.read_shared_settings(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_shared_settings(jsonb, batchgen.settings) is
  'The settings that all items of a request share, as a row of batch_generations.';

-- read_prompts(p_prompts, p_settings)
-- The requested items, in order.
create function batchgen.read_prompts(
  p_prompts jsonb, p_settings batchgen.settings
) returns batchgen.requested_item[]
language plpgsql set search_path = '' as $$
declare
  v_prompt jsonb;
  v_path text;
  v_item batchgen.requested_item;
  v_items batchgen.requested_item[] := '{}';
begin
  for v_prompt, v_item.batch_index in
    select p.value, p.ordinality - 1 from jsonb_array_elements(p_prompts) with ordinality p
  loop
    v_path := format('prompts[%s]', v_item.batch_index);
    if jsonb_typeof(v_prompt) <> 'object' then
      perform batchgen.refuse('wrong_type', v_path || ' is not an object.', v_path,
        'Send {text, negative_prompt, seed, tags}.', v_item.batch_index);
    end if;
    perform batchgen.refuse_unknown_fields(v_prompt, v_path || '.', '{text,negative_prompt,seed,tags}',
      v_item.batch_index);
    v_item.prompt := batchgen.read_text(
      v_prompt -> 'text', v_path || '.text', p_settings.max_prompt_characters, v_item.batch_index
    );
    if v_item.prompt is null or batchgen.is_blank(v_item.prompt) then
      perform batchgen.refuse('blank_prompt', v_path || '.text is empty.', v_path || '.text',
        'Describe the picture, or remove the prompt.', v_item.batch_index);
    end if;
    v_item.negative_prompt := nullif(batchgen.read_text(
      v_prompt -> 'negative_prompt', v_path || '.negative_prompt', p_settings.max_prompt_characters, v_item.batch_index
    ), '');
    v_item.seed := batchgen.read_number(
      v_prompt -> 'seed', v_path || '.seed', -9223372036854775808, 9223372036854775807, true, v_item.batch_index
    );
    v_item.tags := batchgen.read_tags(v_prompt -> 'tags', v_item.batch_index);
    v_items := v_items || v_item;
  end loop;
  return v_items;
end
$$;
revoke execute on function batchgen.read_prompts(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.read_prompts(jsonb, batchgen.settings) is 'The requested items.';

-- choose_seeds(p_items)
-- Give every item a seed of its own: random 31 bits, which every provider accepts, where the request has none.
create function batchgen.choose_seeds(p_items batchgen.requested_item[]) returns batchgen.requested_item[]
language plpgsql set search_path = '' as $$
declare
  v_seed bigint;
begin
  for v_nth in 1 .. cardinality(p_items) loop
    while p_items[v_nth].seed is null loop
      v_seed := floor(random() * 2147483648)::bigint;
      if not exists (select from unnest(p_items) i where i.seed = v_seed) then
        p_items[v_nth].seed := v_seed;
      end if;
    end loop;
  end loop;
  return p_items;
end
$$;
revoke execute on function batchgen.choose_seeds(batchgen.requested_item[])
from public, anon, authenticated, service_role;
comment on function batchgen.choose_seeds(batchgen.requested_item[]) is 'Gives each item a seed of its own.';

-- changes_between(p_one, p_other)
-- Levenshtein distance of two short words: letters to add, remove or replace.
create function batchgen.changes_between(p_one text, p_other text) returns integer
language plpgsql immutable set search_path = '' as $$
declare
  v_before integer[];
  v_row integer[] := array(select generate_series(0, length(p_other)));
begin
  for i in 1 .. length(p_one) loop
    v_before := v_row;
    v_row[1] := i;
    for j in 1 .. length(p_other) loop
      v_row[j + 1] := least(
        v_row[j] + 1, v_before[j + 1] + 1, v_before[j] + (substr(p_one, i, 1) <> substr(p_other, j, 1))::integer
      );
    end loop;
  end loop;
  return v_row[length(p_other) + 1];
end
$$;
revoke execute on function batchgen.changes_between(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.changes_between(text, text) is 'Levenshtein distance of two short words.';

-- refuse_unknown_fields(p_object, p_path, p_known, p_index)
-- Refuse a field that would be ignored; the remedy suggests the most similar known field.
create function batchgen.refuse_unknown_fields(
  p_object jsonb, p_path text, p_known text[], p_index integer default null
) returns void
language plpgsql set search_path = '' as $$
declare
  v_name text;
  v_nearest text;
  v_field text;
begin
  select k into v_name from jsonb_object_keys(p_object) k where k <> all (p_known) limit 1;
  if not found then
    return;
  end if;
  select k into v_nearest
  from unnest(p_known) k
  cross join lateral (select batchgen.changes_between(lower(left(v_name, 40)), k) as changes) c
  where c.changes <= case when length(v_name) < 6 then 2 else 3 end
    or (length(v_name) > 2 and starts_with(k, lower(left(v_name, 40)))) or starts_with(lower(left(v_name, 40)), k)
  order by c.changes, k limit 1;
  v_field := p_path || left(v_name, 100);
  perform batchgen.refuse(
    'unknown_field', format('%s is not a field of a request.', v_field), v_field,
    case
      when v_nearest is not null then format('Did you mean %s? Otherwise leave it out.', v_nearest)
      else format('Leave it out. The fields here are %s.', array_to_string(p_known, ', '))
    end,
    p_index, to_jsonb(p_known)
  );
end
$$;
revoke execute on function batchgen.refuse_unknown_fields(jsonb, text, text[], integer)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_unknown_fields(jsonb, text, text[], integer) is
  'Refuses a field that would be ignored.';
