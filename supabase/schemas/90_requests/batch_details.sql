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
