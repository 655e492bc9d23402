-- What a client shows: details of batches, pages of them, previews of requests, times and limits of models.

-- For batchgen.model_times.
-- squawk-ignore require-concurrent-index-creation
create index ledger_times_of_a_model on batchgen.ledger (model_id, noted_at desc)
where outcome = 'completed' and not is_late;

-- batchgen.model_times: how long a picture of each model takes, from the start of the attempt to its end. Measured over
-- the last 20 pictures: from the mean to the 75th percentile. Until there are five, the estimate in the model's row.
create view batchgen.model_times with (security_invoker = on) as
select m.id as model_id, r.pictures::integer as pictures, r.pictures >= 5 as is_measured,
  case when r.pictures >= 5 then least(r.mean, r.p75) else e.seconds end as least_seconds,
  case when r.pictures >= 5 then greatest(r.mean, r.p75) else e.seconds end as most_seconds
from public.models m
left join batchgen.model_providers p on p.model_id = m.id
cross join lateral (
  select coalesce(p.estimated_seconds, case
    when m.estimated_time_seconds between 0 and 86400 then m.estimated_time_seconds::double precision
  end) as seconds
) e
cross join lateral (
  select count(*) as pictures, avg(t.seconds) as mean, percentile_cont(0.75) within group (order by t.seconds) as p75
  from (
    select extract(epoch from g.completed_at - g.started_at)::double precision as seconds
    from (
      select l.generation_id from batchgen.ledger l
      where l.model_id = m.id and l.outcome = 'completed' and not l.is_late
      order by l.noted_at desc limit 20
    ) l
    join public.image_generations g on g.id = l.generation_id
    where g.status = 'completed' and g.completed_at >= g.started_at
  ) t
) r;
revoke all on batchgen.model_times from public, anon, authenticated, service_role;
comment on view batchgen.model_times is 'How long a picture of each model takes, measured over the last 20 pictures.';
comment on column batchgen.model_times.model_id is 'models.id.';
comment on column batchgen.model_times.pictures is 'Number of measured pictures, at most 20.';
comment on column batchgen.model_times.is_measured is
  'True if the seconds are measured; false if they are the estimate in the model''s row.';
comment on column batchgen.model_times.least_seconds is
  'Mean, or the 75th percentile if that is less; empty if nothing is known.';
comment on column batchgen.model_times.most_seconds is 'The 75th percentile, or the mean if that is more.';

-- batchgen.item_details: all columns of an item that batch_details shows, in the form of its answer, with its picture.
create view batchgen.item_details with (security_invoker = on) as
select g.batch_id, g.id, coalesce(g.batch_index, 0) as index, g.prompt, g.negative_prompt, g.status,
  coalesce(g.error_code, case when g.status = 'failed' then f.code end) as code,
  case when g.status = 'failed' then g.error_message end as message, f.code as failure_code,
  case
    when g.status = 'failed' and g.started_at is null then 0
    else greatest(coalesce(g.retry_count, 0), 0) + least(coalesce(q.crash_count, 0), 1000000) + 1
  end as attempt,
  g.created_at, g.started_at, g.completed_at, coalesce(q.cancel_requested, false) as cancel_requested, g.model_id,
  g.model, g.width, g.height, g.steps, g.guidance_scale, g.seed::text as seed,
  case when p.id is null then requested.tags else given.tags end as tags, c.cost_usd, k.credits,
  p.picture
from public.image_generations g
left join batchgen.queue q on q.generation_id = g.id
left join batchgen.failures f on f.generation_id = g.id
-- The one that complete_generation keeps.
left join lateral (
  select i.id, json_build_object(
    'id', i.id, 'filename', i.filename, 'storage_path', i.storage_path, 'thumbnail_path', i.thumbnail_path,
    'public_url', i.public_url, 'format', i.format, 'width', i.width, 'height', i.height, 'file_size', i.file_size,
    'blurhash', i.blurhash, 'seed', i.seed::text, 'model_version', i.model_version,
    'is_black', coalesce(i.is_black, false), 'is_favorite', coalesce(i.is_favorite, false), 'rating', i.rating,
    'saved_at', i.saved_at, 'archived_at', i.archived_at,
    'is_trashed', exists (select from batchgen.trashed_images t where t.image_id = i.id), 'created_at', i.created_at
  ) as picture
  from public.images i
  where i.generation_id = g.id and i.user_id is not distinct from g.user_id order by i.created_at, i.id limit 1
) p on true
cross join lateral (
  select coalesce(json_agg(t.name order by t.name), '[]'::json) as tags
  from public.image_tags it join public.tags t on t.id = it.tag_id where it.image_id = p.id
) given
cross join lateral (
  select coalesce(json_agg(t.name order by t.name), '[]'::json) as tags
  from batchgen.generation_tags t where t.generation_id = g.id
) requested
cross join lateral (
  select coalesce(sum(l.amount_usd), 0) as cost_usd from batchgen.ledger l where l.generation_id = g.id
) c
-- Each of the two entries has an index of its own.
cross join lateral (
  select (
    select sum(l.amount) from batchgen.credit_ledger l where l.generation_id = g.id and l.entry = 'hold'
  ) - coalesce((
    select sum(l.amount) filter (where l.entry = 'release') from batchgen.credit_ledger l
    where l.generation_id = g.id and l.entry in ('capture', 'release')
  ), 0) as credits
) k;
revoke all on batchgen.item_details from public, anon, authenticated, service_role;
comment on view batchgen.item_details is 'Items as batch_details shows them.';
comment on column batchgen.item_details.batch_id is 'Batch of the item.';
comment on column batchgen.item_details.id is 'The item.';
comment on column batchgen.item_details.index is 'Position of the item in its batch, from 0.';
comment on column batchgen.item_details.prompt is 'Description of what the picture should show.';
comment on column batchgen.item_details.negative_prompt is 'Description of what the picture should not show.';
comment on column batchgen.item_details.status is 'pending, processing, completed or failed.';
comment on column batchgen.item_details.code is 'Error code for programs; empty unless the item has failed.';
comment on column batchgen.item_details.message is 'Error message for the user; empty unless the item has failed.';
comment on column batchgen.item_details.failure_code is 'Code that decides whether the item may be retried.';
comment on column batchgen.item_details.attempt is
  'Number of the running, next or last attempt, from 1; 0 for an item that failed before it was started.';
comment on column batchgen.item_details.created_at is 'When the item was submitted.';
comment on column batchgen.item_details.started_at is 'Start of the running or last attempt.';
comment on column batchgen.item_details.completed_at is 'When the item completed or failed.';
comment on column batchgen.item_details.cancel_requested is 'True if the item''s worker should stop it.';
comment on column batchgen.item_details.model_id is 'models.id.';
comment on column batchgen.item_details.model is 'models.name at the time of the request.';
comment on column batchgen.item_details.width is 'Requested width in pixels.';
comment on column batchgen.item_details.height is 'Requested height in pixels.';
comment on column batchgen.item_details.steps is 'Requested steps.';
comment on column batchgen.item_details.guidance_scale is 'Requested guidance scale.';
comment on column batchgen.item_details.seed is 'Seed, as text: JavaScript rounds 64-bit numbers.';
comment on column batchgen.item_details.tags is 'Tags of the picture; before there is one, those that were requested.';
comment on column batchgen.item_details.cost_usd is 'Cost of the item''s orders, as far as it is known.';
comment on column batchgen.item_details.credits is
  'Credits spent on the item or held for it; empty if it never had to be paid with credits.';
comment on column batchgen.item_details.picture is 'The item''s picture; empty if there is none.';

-- details_of(p_batch_ids, p_now)
-- For each of these batches {batch, items}, as described at public.batch_details. Nothing is expected to end before
-- p_now.
-- Caller: batch_details and batches_page, which check the owner.
-- Long because it is one query: all of its answer holds at one moment.
create function batchgen.details_of(p_batch_ids uuid[], p_now timestamptz)
returns table (batch_id uuid, batch json, items json)
language plpgsql stable security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
#variable_conflict use_column
begin
  return query
  with items as materialized (
    select i.* from batchgen.item_details i where i.batch_id = any (p_batch_ids)
  ),
  waits as materialized (select w.* from batchgen.waits_of(p_batch_ids) w),
  times as materialized (
    select t.* from (select distinct i.model_id from items i where i.status in ('pending', 'processing')) m
    join batchgen.model_times t on t.model_id = m.model_id
  ),
  -- When the items that have not ended will end, if every picture takes the least, and if every one takes the most.
  ends as materialized (
    select i.id, i.batch_id, i.status, e.ends[1] as first_end, e.ends[2] as last_end, t.is_measured, t.pictures
    from items i
    left join waits w on w.generation_id = i.id
    left join times t on t.model_id = i.model_id
    cross join lateral (
      select array_agg(greatest(p_now, s.starts_at + s.takes) order by s.takes)
        filter (where s.starts_at + s.takes is not null) as ends
      from (
        select l.takes, case
          when i.status = 'processing' and not i.cancel_requested then i.started_at::timestamptz
          when w.reason in ('retry', 'provider') then greatest(w."until", p_now)
          when w.rounds = 0 then p_now
          else greatest(w.since + l.takes, p_now) + (w.rounds - 1) * l.takes
        end as starts_at
        from unnest(array[t.least_seconds, t.most_seconds]) seconds
        cross join lateral (select make_interval(secs => seconds) as takes) l
      ) s
    ) e
    where i.status in ('pending', 'processing')
  ),
  refusals as materialized (
    select c.code, batchgen.refusal_message(c.code) as message
    from (select distinct i.failure_code as code from items i where i.status = 'failed') c
    where batchgen.is_never_retried(c.code)
    union all
    values ('already_completed', batchgen.refusal_message('already_completed')),
      ('not_ended', 'The item has not ended yet.')
  ),
  counted as (
    select i.batch_id, count(*) filter (where i.status = 'pending') as pending,
      count(*) filter (where i.status = 'processing') as processing,
      count(*) filter (where i.status = 'failed' and i.code = 'cancelled') as cancelled,
      count(*) filter (where i.status = 'completed' and i.picture is null) as deleted,
      sum(i.cost_usd) as cost_usd, sum(i.credits) as credits,
      -- json, not jsonb: every further jsonb_build_object would copy the whole tree, key by key.
      json_agg(json_build_object(
        'id', i.id, 'index', i.index, 'prompt', i.prompt, 'negative_prompt', i.negative_prompt, 'status', i.status,
        'code', i.code, 'message', i.message, 'may_retry', r.code is null,
        -- As in retry_failed.
        'may_retry_edited', i.status = 'failed' and (r.code is null or r.code = 'blocked_by_policy'),
        'retry_refused', case when r.code is not null then json_build_object('code', r.code, 'message', r.message) end,
        'attempt', i.attempt, 'created_at', i.created_at, 'started_at', i.started_at,
        'completed_at', i.completed_at, 'cancel_requested', i.cancel_requested,
        'wait', case when w.reason is not null then
          json_build_object('reason', w.reason, 'detail', w.detail, 'until', w."until", 'running', w.running,
            'cap', w.cap, 'position', w."position") end,
        'expected_end', case when e.first_end is not null then
          json_build_object('earliest', e.first_end, 'latest', e.last_end, 'is_measured', e.is_measured,
            'pictures', e.pictures) end,
        'model_id', i.model_id, 'model', i.model, 'width', i.width, 'height', i.height, 'steps', i.steps,
        'guidance_scale', i.guidance_scale, 'seed', i.seed, 'tags', i.tags, 'cost_usd', i.cost_usd,
        'credits', i.credits, 'picture', i.picture
      ) order by i.index, i.id) as items
    from items i
    left join waits w on w.generation_id = i.id and i.status = 'pending'
    left join ends e on e.id = i.id
    left join refusals r on r.code = case i.status when 'failed' then i.failure_code
      when 'completed' then 'already_completed' else 'not_ended' end
    group by i.batch_id
  ),
  ended as (
    select e.batch_id, max(e.first_end) as first_end, max(e.last_end) as last_end,
      bool_and(e.is_measured) as is_measured
    from ends e group by e.batch_id having bool_and(e.first_end is not null)
  )
  select b.id, json_build_object(
      'id', b.id, 'user_id', b.user_id, 'name', b.name, 'status', b.status, 'total_count', b.total_count,
      'completed_count', b.completed_count, 'failed_count', b.failed_count, 'pending_count', coalesce(c.pending, 0),
      'processing_count', coalesce(c.processing, 0), 'cancelled_count', coalesce(c.cancelled, 0),
      'deleted_count', coalesce(c.deleted, 0), 'created_at', b.created_at, 'completed_at', b.completed_at,
      'reopened_at', o.reopened_at, 'trashed_at', s.trashed_at,
      'rating', case when r.batch_id is not null then json_build_object(
        'stars', r.stars, 'comment', r.comment, 'rated_at', r.rated_at, 'changed_at', r.changed_at) end,
      'model_id', b.model_id, 'model_name', m.display_name,
      'model_version', b.model_version, 'width', b.width, 'height', b.height, 'steps', b.steps,
      'guidance_scale', b.guidance_scale, 'cost_usd', coalesce(c.cost_usd, 0), 'credits', c.credits,
      'expected_end', case when d.last_end is not null then
        json_build_object('earliest', d.first_end, 'latest', d.last_end, 'is_measured', d.is_measured) end
    ), coalesce(c.items, '[]'::json)
  from public.batch_generations b
  left join counted c on c.batch_id = b.id
  left join ended d on d.batch_id = b.id
  left join batchgen.reopened_batches o on o.batch_id = b.id
  left join batchgen.batch_ratings r on r.batch_id = b.id
  left join batchgen.trashed_batches s on s.batch_id = b.id
  left join public.models m on m.id::text = b.model_id
  where b.id = any (p_batch_ids);
end
$$;
revoke execute on function batchgen.details_of(uuid[], timestamptz) from public, anon, authenticated, service_role;
comment on function batchgen.details_of(uuid[], timestamptz) is
  'Batches with their items, and all that a screen shows of them.';

create function batchgen_api.details_of_any_batch(p_batch_id uuid) returns json
language plpgsql stable security definer set search_path = '' as $$
declare
  v_now timestamptz := clock_timestamp();
  v_details json;
begin
  select json_build_object('now', v_now, 'batch', d.batch, 'items', d.items) into v_details
  from batchgen.details_of(array[p_batch_id], v_now) d;
  if not found then
    perform batchgen.refuse_batch();
  end if;
  return v_details;
end
$$;
revoke execute on function batchgen_api.details_of_any_batch(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.details_of_any_batch(uuid) to service_role;
comment on function batchgen_api.details_of_any_batch(uuid) is 'Behind public.batch_details: for operators.';

create function batchgen_api.batch_details(p_batch_id uuid) returns json
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from public.batch_generations b where b.id = p_batch_id and b.user_id = auth.uid()) then
    perform batchgen.refuse_batch();
  end if;
  return batchgen_api.details_of_any_batch(p_batch_id);
end
$$;
revoke execute on function batchgen_api.batch_details(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.batch_details(uuid) to authenticated;
comment on function batchgen_api.batch_details(uuid) is 'Behind public.batch_details: for the batch''s owner.';

-- batch_details(p_batch_id)
-- A batch and all that a screen shows of it, read at one moment: {now, batch: {id, user_id, name, status, counts,
-- created_at, completed_at, reopened_at, settings, cost_usd, credits, expected_end}, items: [{id, index, prompt, …,
-- status, code, message, may_retry, may_retry_edited, retry_refused: {code, message}, attempt, started_at, wait,
-- expected_end, seed, tags, cost_usd, picture}]}. wait: a row of batch_waits. expected_end: {earliest, latest,
-- is_measured}, null if it cannot be foreseen.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.batch_details(p_batch_id uuid) returns json
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.details_of_any_batch(uuid)', 'execute') then
    return batchgen_api.details_of_any_batch(p_batch_id);
  end if;
  return batchgen_api.batch_details(p_batch_id);
end
$$;
revoke execute on function public.batch_details(uuid) from public, anon, authenticated, service_role;
grant execute on function public.batch_details(uuid) to authenticated, service_role;
comment on function public.batch_details(uuid) is
  'A batch with its items and pictures, why items wait, what may be retried, and when they will end.';

-- The pages' order, for one user and for all.
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_batch_generations_user_created
on public.batch_generations (user_id, created_at desc, id desc);
-- squawk-ignore require-concurrent-index-creation
create index if not exists idx_batch_generations_created on public.batch_generations (created_at desc, id desc);

-- Arguments of batches_page, checked: at and id of p_before; states, null for all; is_trashed: batches in the trash
-- instead of the others; tag and search in lower case.
create type batchgen.page_request as (
  at timestamptz, id uuid, size integer, states text[], is_trashed boolean, tag text, search text
);

-- read_page_request(p_before, p_limit, p_state, p_tag, p_search)
-- Read and check the arguments of batches_page.
-- Errors: PT422 for the first that is invalid.
create function batchgen.read_page_request(
  p_before text, p_limit integer, p_state text, p_tag text, p_search text
) returns batchgen.page_request
language plpgsql stable set search_path = '' as $$
declare
  v_page batchgen.page_request;
  v_states text[] := '{pending,processing,completed,partial,failed}';
begin
  v_page.size := coalesce(p_limit, 20);
  if v_page.size not between 1 and 100 then
    perform batchgen.refuse('out_of_range', 'p_limit is out of range: it must be from 1 to 100.', 'p_limit',
      'Choose a whole number from 1 to 100, and read the next page with p_before.', null,
      jsonb_build_object('min', 1, 'max', 100));
  end if;
  if p_before is not null then
    begin
      v_page.at := split_part(p_before, '/', 1)::timestamptz;
      v_page.id := split_part(p_before, '/', 2)::uuid;
    exception when data_exception then
      perform batchgen.refuse('invalid_cursor', 'p_before does not come from batches_page.', 'p_before',
        'Send next of the page before, or leave it out for the first page.');
    end;
  end if;
  v_page.states := case
    when p_state = 'active' then '{pending,processing}'
    when p_state = 'ended' then '{completed,partial,failed}'
    when p_state = any (v_states) then array[p_state]
  end;
  v_page.is_trashed := coalesce(p_state = 'trashed', false);
  if p_state <> '' and v_page.states is null and not v_page.is_trashed then
    perform batchgen.refuse('unknown_state', 'p_state is not a state of a batch.', 'p_state',
      'Send pending, processing, completed, partial, failed, active, ended or trashed, or leave it out.', null,
      to_jsonb(v_states || '{active,ended,trashed}'));
  end if;
  if length(p_tag) > 50 or length(p_search) > 200 then
    perform batchgen.refuse('too_long', format('%s is too long.', case when length(p_tag) > 50 then 'p_tag'
      else 'p_search' end), case when length(p_tag) > 50 then 'p_tag' else 'p_search' end,
      format('Shorten it to %s characters.', case when length(p_tag) > 50 then 50 else 200 end), null,
      to_jsonb(case when length(p_tag) > 50 then 50 else 200 end));
  end if;
  if not batchgen.is_blank(p_tag) then
    v_page.tag := batchgen.check_tag_name(lower(btrim(p_tag, E' \t\r\n')), 'p_tag');
  end if;
  if not batchgen.is_blank(p_search) then
    v_page.search := lower(btrim(p_search, E' \t\r\n'));
  end if;
  return v_page;
end
$$;
revoke execute on function batchgen.read_page_request(text, integer, text, text, text)
from public, anon, authenticated, service_role;
comment on function batchgen.read_page_request(text, integer, text, text, text) is
  'The arguments of batches_page, checked.';

-- batches_page_of(p_user_id, p_page)
-- The page of a user's batches, or of everybody's if p_user_id is null, without those in the trash unless asked for. A
-- tag or a search reads at most 1,000 batches per call: such a page may be short, and next then continues behind the
-- last batch that was read.
-- Caller: batches_page, batches_page_as.
create function batchgen.batches_page_of(p_user_id uuid, p_page batchgen.page_request) returns json
language plpgsql stable security definer set search_path = '' as $$
declare
  v_is_filtered boolean := p_page.tag is not null or p_page.search is not null;
  v_most integer := case when v_is_filtered then 1000 else p_page.size + 1 end;
  v_now timestamptz := clock_timestamp();
  v_read uuid[];
  v_found uuid[];
  v_last uuid;
begin
  -- Planned for these values: which index is best depends on how many batches the user and the states have.
  execute 'select array(select b.id from public.batch_generations b'
    || case when p_page.is_trashed then ' where' else ' where not' end
    || ' exists (select from batchgen.trashed_batches t where t.batch_id = b.id)'
    || case when p_user_id is not null then ' and b.user_id = $1' else '' end
    || case when p_page.at is not null then ' and (b.created_at, b.id) < ($2, $3)' else '' end
    || case when p_page.states is not null then ' and b.status = any ($4)' else '' end
    || ' order by b.created_at desc, b.id desc limit $5)'
  into v_read using p_user_id, p_page.at, p_page.id, p_page.states, v_most;
  v_found := case when v_is_filtered then batchgen.matching_batches(v_read, p_page) else v_read end;
  v_last := case
    when cardinality(v_found) > p_page.size then v_found[p_page.size]
    when v_is_filtered and cardinality(v_read) = v_most then v_read[v_most]
  end;
  return json_build_object(
    'now', v_now,
    'batches', coalesce((
      select json_agg(json_build_object('batch', d.batch, 'items', d.items)
        order by array_position(v_found, d.batch_id))
      from batchgen.details_of(v_found[: p_page.size], v_now) d
    ), '[]'::json),
    'next', (
      select (to_jsonb(b.created_at) #>> '{}') || '/' || b.id from public.batch_generations b where b.id = v_last
    )
  );
end
$$;
revoke execute on function batchgen.batches_page_of(uuid, batchgen.page_request)
from public, anon, authenticated, service_role;
comment on function batchgen.batches_page_of(uuid, batchgen.page_request) is 'A page of batches with their items.';

-- matching_batches(p_batch_ids, p_page)
-- Those of the batches, in the same order, that have the tag and the searched text: one more than a page at most. An
-- item has the tags of its picture, and those of its request before there is one.
create function batchgen.matching_batches(p_batch_ids uuid[], p_page batchgen.page_request) returns uuid[]
language plpgsql stable security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  return array(
    select b.id
    -- Sorted before they are filtered, so that the filter stops at the limit.
    from (
      select o.id, o.nth, g.name from unnest(p_batch_ids) with ordinality o (id, nth)
      join public.batch_generations g on g.id = o.id order by o.nth offset 0
    ) b
    where (p_page.search is null or strpos(lower(b.name), p_page.search) > 0 or exists (
      select from public.image_generations g where g.batch_id = b.id and strpos(lower(g.prompt), p_page.search) > 0
    ))
    and (p_page.tag is null or exists (
      select from public.image_generations g
      left join public.images i on i.generation_id = g.id and i.user_id is not distinct from g.user_id
      where g.batch_id = b.id and case
        when i.id is null then exists (
          select from batchgen.generation_tags t where t.generation_id = g.id and t.name = p_page.tag
        )
        else exists (
          select from public.image_tags it join public.tags t on t.id = it.tag_id
          where it.image_id = i.id and t.name = p_page.tag
        )
      end
    ))
    limit p_page.size + 1
  );
end
$$;
revoke execute on function batchgen.matching_batches(uuid[], batchgen.page_request)
from public, anon, authenticated, service_role;
comment on function batchgen.matching_batches(uuid[], batchgen.page_request) is
  'Those of the batches that have a tag and a text.';

create function batchgen_api.batches_page(
  p_before text, p_limit integer, p_state text, p_tag text, p_search text
) returns json
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return batchgen.batches_page_of(auth.uid(),
    batchgen.read_page_request(p_before, p_limit, p_state, p_tag, p_search));
end
$$;
revoke execute on function batchgen_api.batches_page(text, integer, text, text, text)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.batches_page(text, integer, text, text, text) to authenticated;
comment on function batchgen_api.batches_page(text, integer, text, text, text) is
  'Behind public.batches_page: for the signed-in user.';

-- batches_page(p_before, p_limit, p_state, p_tag, p_search)
-- A page of batches, newest first: {now, batches: [{batch, items}, …], next}, each batch as batch_details returns it.
-- next is p_before of the next page, null after the last one; a page of a search may be short although next is set.
-- p_limit: 1 to 100. p_state: a status of batches, active, ended, or trashed for those in the trash, which are left out
-- otherwise. p_tag: batches with an item that has this tag.
-- p_search: batches with this text in their name or in a prompt.
-- Caller: authenticated, for their own batches; service_role, for everybody's.
-- Errors: PT401; PT422 for arguments.
create function public.batches_page(
  p_before text default null, p_limit integer default 20, p_state text default null, p_tag text default null,
  p_search text default null
) returns json
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('public.batches_page_as(uuid, text, integer, text, text, text)', 'execute') then
    return public.batches_page_as(null, p_before, p_limit, p_state, p_tag, p_search);
  end if;
  return batchgen_api.batches_page(p_before, p_limit, p_state, p_tag, p_search);
end
$$;
revoke execute on function public.batches_page(text, integer, text, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.batches_page(text, integer, text, text, text) to authenticated, service_role;
comment on function public.batches_page(text, integer, text, text, text) is
  'A page of batches with their items and pictures, newest first.';

-- batches_page_as(p_user_id, p_before, p_limit, p_state, p_tag, p_search)
-- batches_page for an operator: the batches of one user, or everybody's if p_user_id is null.
-- Caller: service_role.
-- Errors: PT422 for arguments.
create function public.batches_page_as(
  p_user_id uuid, p_before text default null, p_limit integer default 20, p_state text default null,
  p_tag text default null, p_search text default null
) returns json
language plpgsql stable security definer set search_path = '' as $$
begin
  return batchgen.batches_page_of(p_user_id,
    batchgen.read_page_request(p_before, p_limit, p_state, p_tag, p_search));
end
$$;
revoke execute on function public.batches_page_as(uuid, text, integer, text, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.batches_page_as(uuid, text, integer, text, text, text) to service_role;
comment on function public.batches_page_as(uuid, text, integer, text, text, text) is
  'For operators: batches_page for one user, or for all.';

-- in_the_way(p_batch, p_items)
-- The refusal of these items by a limit or for lack of credits, in the form of its error's detail; null if they would
-- be accepted.
create function batchgen.in_the_way(p_batch public.batch_generations, p_items batchgen.requested_item[]) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_detail text;
begin
  -- In the order of create_batch_for.
  if not batchgen.is_operator() then
    perform batchgen.refuse_over_limit(p_batch.user_id, cardinality(p_items));
  end if;
  perform batchgen.check_cost_and_tags(p_batch, p_items);
  return null;
exception when sqlstate 'PT429' or sqlstate 'PT402' then
  get stacked diagnostics v_detail = pg_exception_detail;
  return v_detail::jsonb;
end
$$;
revoke execute on function batchgen.in_the_way(public.batch_generations, batchgen.requested_item[])
from public, anon, authenticated, service_role;
comment on function batchgen.in_the_way(public.batch_generations, batchgen.requested_item[]) is
  'The refusal of items by a limit or for lack of credits; null if they would be accepted.';

-- limits_left(p_user_id)
-- [{code, field, used, limit, left, resets_at}, …] for each limit of a user. used of waiting items stops at the limit.
create function batchgen.limits_left(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select jsonb_agg(jsonb_build_object('code', l.code, 'field', l.field, 'used', l.used, 'limit', l.allowed,
      'left', greatest(l.allowed - l.used, 0), 'resets_at', l.resets_at) order by l.nth)
    from batchgen.windows_of(p_user_id) w
    cross join batchgen.settings s
    cross join lateral (values
      (1, 'daily_limit', 'daily_generations_limit', w.daily_used, w.daily_limit, w.daily_resets_at),
      (2, 'hourly_limit', 'hourly_generations_limit', w.hourly_used, w.hourly_limit, w.hourly_resets_at),
      (3, 'too_many_waiting', 'max_waiting_per_user', batchgen.waiting_of(p_user_id, s.max_waiting_per_user),
        s.max_waiting_per_user, null)
    ) l (nth, code, field, used, allowed, resets_at)
  );
end
$$;
revoke execute on function batchgen.limits_left(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.limits_left(uuid) is 'What is left of each limit of a user.';

-- expected_seconds(p_user_id, p_model_id, p_items)
-- {least, most, is_measured}: how long it takes until p_items waiting items of the user have ended, after those that
-- run. The user's slots are the parallel limit, or a fair share of all slots among the users with running items. Null
-- if nothing is known of the model's times.
create function batchgen.expected_seconds(p_user_id uuid, p_model_id uuid, p_items integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select jsonb_build_object('least', r.rounds * t.least_seconds, 'most', r.rounds * t.most_seconds,
      'is_measured', t.is_measured)
    from batchgen.settings s
    cross join lateral (
      select count(distinct q.user_id) filter (where q.user_id <> p_user_id) + 1 as users,
        count(*) filter (where q.user_id = p_user_id) as own
      from batchgen.queue q where q.state = 'running'
    ) running
    cross join lateral (
      select ceil((running.own + p_items)::numeric
        / greatest(least(s.max_parallel_per_user, s.max_parallel_global / running.users), 1)) as rounds
    ) r
    join batchgen.model_times t on t.model_id = p_model_id
    where t.least_seconds is not null
  );
end
$$;
revoke execute on function batchgen.expected_seconds(uuid, uuid, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.expected_seconds(uuid, uuid, integer) is
  'How long further items of a user would take, as a range.';

-- credits_needed(p_user_id, p_model_id, p_items)
-- {each, total, available}: what the items cost in credits, and what the user has; null if credits are off.
create function batchgen.credits_needed(p_user_id uuid, p_model_id uuid, p_items integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_price numeric;
begin
  if not (select s.credits from batchgen.settings s) then
    return null;
  end if;
  v_price := trim_scale(batchgen.price_of(p_user_id, p_model_id));
  return jsonb_build_object('each', v_price, 'total', v_price * p_items,
    'available', trim_scale(batchgen.credits_available(p_user_id)));
end
$$;
revoke execute on function batchgen.credits_needed(uuid, uuid, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.credits_needed(uuid, uuid, integer) is
  'What items cost in credits, and what the user has.';

-- preview_batch_for(p_user_id, p_request)
-- The answer of preview_batch. Reads the request as create_batch_for does, in the same order.
-- Caller: preview_batch, preview_batch_as.
-- Errors: those of create_batch_for, except for limits and credits, which are reported.
create function batchgen.preview_batch_for(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_again uuid := batchgen.repeated_batch(p_user_id, p_request);
  v_read batchgen.requested_batch;
  v_limits jsonb;
begin
  if v_again is not null then
    return batchgen.preview_of_known(v_again);
  end if;
  v_read := batchgen.read_batch(p_user_id, p_request);
  if not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse_deleted_user();
  end if;
  v_limits := batchgen.limits_left(p_user_id);
  return batchgen.preview_of(v_read.batch, v_read.items) || jsonb_build_object(
    'batch_id', null, 'sample_seed', v_read.sample_seed::text,
    'expected_seconds', batchgen.expected_seconds(p_user_id, (v_read.batch).model_id::uuid,
      (jsonb_path_query_first(v_limits, '$[*] ? (@.code == "too_many_waiting").used'))::integer
        + cardinality(v_read.items)),
    'limits', v_limits,
    'credits', batchgen.credits_needed(p_user_id, (v_read.batch).model_id::uuid, cardinality(v_read.items)),
    'refusal', batchgen.in_the_way(v_read.batch, v_read.items)
  );
end
$$;
revoke execute on function batchgen.preview_batch_for(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.preview_batch_for(uuid, jsonb) is 'What create_batch would do with a request.';

-- preview_of(p_batch, p_items)
-- The batch, the items and the price of a request that was read.
create function batchgen.preview_of(p_batch public.batch_generations, p_items batchgen.requested_item[]) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  return (
    select jsonb_build_object(
      'batch', jsonb_build_object('name', p_batch.name, 'model_id', p_batch.model_id, 'model_name', m.display_name,
        'model_version', p_batch.model_version, 'width', p_batch.width, 'height', p_batch.height,
        'steps', p_batch.steps, 'guidance_scale', p_batch.guidance_scale),
      'items', (
        select jsonb_agg(jsonb_build_object('index', i.batch_index, 'prompt', i.prompt,
          'negative_prompt', i.negative_prompt, 'seed', i.seed::text, 'tags', to_jsonb(i.tags)) order by i.batch_index)
        from unnest(p_items) i
      ),
      'count', cardinality(p_items), 'price_usd', m.price_usd, 'total_usd', m.price_usd * cardinality(p_items)
    )
    from (select) one left join batchgen.models m on m.id = p_batch.model_id::uuid
  );
end
$$;
revoke execute on function batchgen.preview_of(public.batch_generations, batchgen.requested_item[])
from public, anon, authenticated, service_role;
comment on function batchgen.preview_of(public.batch_generations, batchgen.requested_item[]) is
  'The batch, the items and the price of a request that was read.';

-- preview_of_known(p_batch_id)
-- The preview of a repeated request: the batch that it already made, at no further price.
create function batchgen.preview_of_known(p_batch_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select batchgen.preview_of(b, array(
    select row(g.batch_index, g.prompt, g.negative_prompt, g.seed,
      array(select t.name from batchgen.generation_tags t where t.generation_id = g.id))::batchgen.requested_item
    from public.image_generations g where g.batch_id = b.id order by g.batch_index
  )) || jsonb_build_object('batch_id', b.id, 'sample_seed', null, 'price_usd', 0, 'total_usd', 0,
    'expected_seconds', null, 'limits', batchgen.limits_left(b.user_id), 'credits', null, 'refusal', null)
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function batchgen.preview_of_known(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.preview_of_known(uuid) is 'The preview of a repeated request: the batch that it made.';

create function batchgen_api.preview_batch(p_request jsonb) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return batchgen.preview_batch_for(auth.uid(), p_request);
end
$$;
revoke execute on function batchgen_api.preview_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.preview_batch(jsonb) to authenticated;
comment on function batchgen_api.preview_batch(jsonb) is 'Behind public.preview_batch: for the signed-in user.';

-- preview_batch(p_request)
-- What create_batch would do with the same request; writes nothing. {batch: {name, model_id, settings}, items: [{index,
-- prompt, negative_prompt, seed, tags}], count, price_usd, total_usd, expected_seconds: {least, most, is_measured},
-- limits: [{code, field, used, limit, left, resets_at}], credits: {each, total, available}, refusal, batch_id,
-- sample_seed}. seed is null where create_batch chooses one. refusal: null, or the detail of the error with which
-- create_batch would refuse it because of a limit or for lack of credits. batch_id: the batch that an earlier request
-- with this client_key made; create_batch would return it. sample_seed: of a random sample of choices.
-- Caller: authenticated, for themselves. anon may call it only to get a clear error: PT401 not_signed_in.
-- Errors: those of create_batch, except for limits and credits.
create function public.preview_batch(p_request jsonb) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  -- anon may not use the schema of batchgen.refuse, so the error is raised here.
  if auth.uid() is null then
    raise exception using errcode = 'PT401', message = 'You are not signed in.', hint = 'Sign in, then try again.',
      detail = jsonb_build_object(
        'code', 'not_signed_in', 'message', 'You are not signed in.', 'index', null, 'field', null, 'limit', null,
        'remedy', 'Sign in, then try again.'
      )::text;
  end if;
  return batchgen_api.preview_batch(p_request);
end
$$;
revoke execute on function public.preview_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.preview_batch(jsonb) to anon, authenticated;
comment on function public.preview_batch(jsonb) is 'Shows what create_batch would do with a request; writes nothing.';

-- preview_batch_as(p_user_id, p_request)
-- preview_batch for an operator who acts for a user. No limit refuses an operator.
-- Caller: service_role.
create function public.preview_batch_as(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if p_user_id is null or not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('unknown_user', 'p_user_id is not a user of this project.', 'p_user_id',
      'Use the id of a row in auth.users.');
  end if;
  return batchgen.preview_batch_for(p_user_id, p_request);
end
$$;
revoke execute on function public.preview_batch_as(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.preview_batch_as(uuid, jsonb) to service_role;
comment on function public.preview_batch_as(uuid, jsonb) is 'For operators: preview_batch for a user.';

-- input_range(p_input, p_least, p_most, p_default)
-- {min, max, default} of a number of a request: the request's own limits, narrowed by the model's input; null if the
-- model has no such input or always gets a fixed value. p_input: null for a model without a list of inputs.
create function batchgen.input_range(p_input jsonb, p_least numeric, p_most numeric, p_default numeric) returns jsonb
language sql immutable set search_path = '' as $$
  select case when jsonb_typeof(p_input) is distinct from 'null' and p_input -> 'fixed' is null then jsonb_build_object(
    -- A row may have anything there; read_spec refuses it when an item is about to be ordered.
    'min', greatest(p_least, case when jsonb_typeof(p_input -> 'min') = 'number' then (p_input ->> 'min')::numeric end),
    'max', least(p_most, case when jsonb_typeof(p_input -> 'max') = 'number' then (p_input ->> 'max')::numeric end),
    'default', p_default
  ) end
$$;
revoke execute on function batchgen.input_range(jsonb, numeric, numeric, numeric)
from public, anon, authenticated, service_role;
comment on function batchgen.input_range(jsonb, numeric, numeric, numeric) is
  'The range of a number that a request may name, for one model.';

-- get_models()
-- The models that a request may name, the default first, and what each takes. width, height, steps, guidance_scale:
-- {min, max, default}, null if the model takes none. aspect_ratios and sizes: lists if the model takes only these; a
-- request's size is fitted to the nearest. price_usd: of one picture. estimated_seconds: from the model's row;
-- least_seconds to most_seconds: batchgen.model_times.
-- Caller: authenticated; service_role, with provider, provider_model and inactive models.
create function public.get_models()
returns table (
  id uuid, name text, display_name text, replicate_id text, provider text, provider_model text, is_active boolean,
  is_default boolean, price_usd numeric, estimated_seconds double precision, default_width integer,
  default_height integer,
  min_width integer, max_width integer, min_height integer, max_height integer, max_steps integer,
  description text, width jsonb, height jsonb, aspect_ratios jsonb, sizes jsonb, steps jsonb, guidance_scale jsonb,
  supports_seed boolean, supports_negative_prompt boolean, least_seconds double precision,
  most_seconds double precision, is_measured boolean
)
language sql stable security definer set search_path = '' as $$
  select m.id, m.name, m.display_name, m.replicate_id, case when o.is_operator then b.provider end,
    case when o.is_operator then b.provider_model end, coalesce(m.is_active, false),
    coalesce(m.is_default, false), b.price_usd, b.estimated_seconds, m.default_width, m.default_height,
    m.min_width, m.max_width, m.min_height, m.max_height, m.max_steps,
    -- Through JSON: columns of the app that an existing project may lack.
    to_jsonb(m) ->> 'description',
    batchgen.input_range(null, coalesce(m.min_width, 16), coalesce(m.max_width, 4096),
      coalesce(m.default_width, 1024)),
    batchgen.input_range(null, coalesce(m.min_height, 16), coalesce(m.max_height, 4096),
      coalesce(m.default_height, 1024)),
    case
      when jsonb_typeof(i.ratios) = 'array' then i.ratios
      when i.size ->> 'kind' = 'aspect_ratio' then i.size -> 'choices'
    end,
    case when i.size ->> 'kind' = 'choices' then i.size -> 'choices' end,
    batchgen.input_range(i.steps, 1, coalesce(m.max_steps, 200), m.default_steps),
    batchgen.input_range(i.guidance_scale, 0, s.max_guidance_scale::numeric, m.default_guidance_scale::numeric),
    coalesce(m.supports_seed, false), coalesce(m.supports_negative_prompt, false), t.least_seconds, t.most_seconds,
    t.is_measured
  from (select batchgen.is_operator() as is_operator) o
  cross join batchgen.settings s
  cross join public.models m
  join batchgen.models b on b.id = m.id
  join batchgen.model_times t on t.model_id = m.id
  cross join lateral (
    select to_jsonb(m) -> 'supported_aspect_ratios' as ratios,
      case when jsonb_typeof(b.inputs -> 'size' -> 'choices') = 'array' then b.inputs -> 'size' end as size,
      case when b.inputs is not null then coalesce(b.inputs -> 'steps', 'null') end as steps,
      case when b.inputs is not null then coalesce(b.inputs -> 'guidance_scale', 'null') end as guidance_scale
  ) i
  where m.is_active or o.is_operator
  order by coalesce(m.is_active, false) desc, coalesce(m.is_default, false) desc, m.sort_order, m.display_name, m.id
$$;
revoke execute on function public.get_models() from public, anon, authenticated, service_role;
grant execute on function public.get_models() to authenticated, service_role;
comment on function public.get_models() is
  'The models that a request may name, what they take, their price and their time.';
