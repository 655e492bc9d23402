-- complete_items(p_results)
-- Complete the item of each entry {generation_id, lease_id, result} whose lease is held: the item, its row of images,
-- its tags, its order's costs and its batch's totals. A result's keys are columns of images; storage_path is required
-- and must be in the owner's folder; order is the state of its order. Returns a row per completed item; an entry
-- without one has lost its lease.
-- Caller: complete_generation, complete_generations.
-- States: processing -> completed.
-- Locks: batches, items, queue rows (batchgen.hold_results), then breakers and providers.
-- Errors: PT422 for an invalid result; PT409 busy if another session holds one of several items for more than a second.
-- Nothing is written then; sent one by one, each result waits for its own item.
create function batchgen.complete_items(p_results jsonb)
returns table (generation_id uuid, lease_id uuid, image_id uuid)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_items batchgen.queue[] := batchgen.hold_results(p_results);
  v_images public.images[];
begin
  if v_items is null then
    return;
  end if;
  v_images := batchgen.read_pictures(p_results, v_items);
  perform batchgen.store_pictures(v_images);
  perform batchgen.tag_pictures(v_items);
  -- The first picture of each item, as in store_pictures.
  return query
  select i.generation_id, i.lease_id, (
    select j.id from public.images j where j.generation_id = i.generation_id order by j.created_at, j.id limit 1
  )
  from unnest(v_items) i;
  perform batchgen.note_charges(p_results, v_items);
  perform batchgen.end_as_completed(v_items);
  perform batchgen.note_success(v_items);
end
$$;
revoke execute on function batchgen.complete_items(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.complete_items(jsonb) is 'Completes leased items, with their pictures and totals.';

-- Steps of complete_items.

-- hold_results(p_results)
-- Lock the items of entries whose lease is held; return their queue rows, or null if there are none.
-- Locks: batches, items, queue rows. Errors: PT409 busy.
create function batchgen.hold_results(p_results jsonb) returns batchgen.queue[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_ids uuid[];
  v_leases uuid[];
  v_items batchgen.queue[];
begin
  select array_agg(distinct (r.value ->> 'generation_id')::uuid), array_agg(distinct (r.value ->> 'lease_id')::uuid)
  into v_ids, v_leases from jsonb_array_elements(p_results) r;
  if cardinality(v_ids) < 2 then
    perform batchgen.lock_items(v_ids);
  elsif not batchgen.lock_items_within(v_ids, 1) then
    perform batchgen.refuse('busy', 'Another session holds one of these items.', 'p_results',
      'Send the results one by one.',
      null, null, 'PT409');
  end if;
  select array_agg(held.item) into v_items
  from (
    select q as item from batchgen.queue q
    where q.generation_id = any (v_ids) and q.lease_id = any (v_leases) and q.lease_expires_at > clock_timestamp()
      and exists (
        select from jsonb_array_elements(p_results) e
        where (e.value ->> 'generation_id')::uuid = q.generation_id and (e.value ->> 'lease_id')::uuid = q.lease_id
      )
    for update
  ) held;
  return v_items;
end
$$;
revoke execute on function batchgen.hold_results(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.hold_results(jsonb) is 'Locks the items of results whose lease is held.';

-- read_pictures(p_results, p_items)
-- The results of these items as rows of images, one per item.
-- Errors: PT422 for an invalid result.
create function batchgen.read_pictures(p_results jsonb, p_items batchgen.queue[]) returns public.images[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_images public.images[];
  v_problem record;
begin
  begin
    select array_agg(
      jsonb_populate_record(null::public.images, r.result || jsonb_build_object('generation_id', r.generation_id))
    ) into v_images
    from (
      select distinct on (i.generation_id) i.generation_id, coalesce(e.value -> 'result', '{}') as result
      from unnest(p_items) i join jsonb_array_elements(p_results) e
        on (e.value ->> 'generation_id')::uuid = i.generation_id and (e.value ->> 'lease_id')::uuid = i.lease_id
    ) r;
  exception when others then
    perform batchgen.refuse_argument('p_result', format('does not fit the table images: %s', sqlerrm),
      'Send an object whose keys are columns of images.');
  end;
  select i.storage_path, p.is_outside into v_problem
  from unnest(v_images) i join public.image_generations g on g.id = i.generation_id
  cross join lateral (
    select starts_with(i.storage_path, g.user_id || '/') is not true or i.storage_path ~ '(^|/)(\.\.?)?(/|$)'
  ) p (is_outside)
  where p.is_outside or (i.thumbnail_path is not null and not batchgen.is_in_folder(g.user_id, i.thumbnail_path))
  limit 1;
  if found and coalesce(v_problem.storage_path, '') = '' then
    perform batchgen.refuse_argument('p_result.storage_path', 'is missing',
      'Store the picture first, then send its path.');
  elsif found and v_problem.is_outside then
    perform batchgen.refuse_argument('p_result.storage_path', 'is outside the owner''s folder',
      'Use {user_id}/{generation_id}.{format}.');
  elsif found then
    perform batchgen.refuse_argument('p_result.thumbnail_path', 'is outside the owner''s folder',
      'Use {user_id}/{generation_id}.thumb.webp, or leave it out.');
  end if;
  return v_images;
end
$$;
revoke execute on function batchgen.read_pictures(jsonb, batchgen.queue[])
from public, anon, authenticated, service_role;
comment on function batchgen.read_pictures(jsonb, batchgen.queue[]) is
  'Results as rows of images; PT422 for an invalid one.';

-- store_pictures(p_images)
-- Write one picture per item: an item that ran again replaces its picture and keeps its user's edits. Private pictures
-- have no public address; the setting is read by the statement that writes, after it has its lock on the table
-- (after_pictures_switched).
create function batchgen.store_pictures(p_images public.images[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  update public.images i
  set storage_path = n.storage_path, filename = coalesce(nullif(n.filename, ''), i.filename),
    public_url = case when (select s.pictures from batchgen.settings s) = 'public' then n.public_url end,
    format = n.format, width = n.width, height = n.height, file_size = n.file_size,
    blurhash = n.blurhash, seed = n.seed, model_version = n.model_version, is_black = coalesce(n.is_black, false),
    thumbnail_path = n.thumbnail_path
  from unnest(p_images) n
  where i.id = (
    select j.id from public.images j where j.generation_id = n.generation_id order by j.created_at, j.id limit 1
  );
  insert into public.images (
    generation_id, user_id, filename, storage_path, prompt, public_url, negative_prompt, model, style, width, height,
    format, file_size, blurhash, seed, model_version, is_black, thumbnail_path
  )
  select g.id, g.user_id, coalesce(nullif(n.filename, ''), regexp_replace(n.storage_path, '^.*/', '')), n.storage_path,
    g.prompt, case when (select s.pictures from batchgen.settings s) = 'public' then n.public_url end,
    g.negative_prompt, g.model, g.style, n.width, n.height,
    n.format, n.file_size, n.blurhash, n.seed, n.model_version, coalesce(n.is_black, false), n.thumbnail_path
  from unnest(p_images) n join public.image_generations g on g.id = n.generation_id
  where not exists (select from public.images j where j.generation_id = n.generation_id);
end
$$;
revoke execute on function batchgen.store_pictures(public.images[]) from public, anon, authenticated, service_role;
comment on function batchgen.store_pictures(public.images[]) is 'Writes the pictures of items, one per item.';

-- tag_pictures(p_items)
-- Put the requested tags on the items' pictures. All new tags at once and in order: two calls that create the same tags
-- wait for each other without a deadlock.
create function batchgen.tag_pictures(p_items batchgen.queue[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_ids uuid[] := array(select i.generation_id from unnest(p_items) i);
begin
  insert into public.tags (name, created_by)
  select distinct on (t.name) t.name, g.user_id
  from batchgen.generation_tags t join public.image_generations g on g.id = t.generation_id
  where t.generation_id = any (v_ids) order by t.name, g.user_id
  on conflict do nothing;
  perform batchgen.tag_image(i.id, i.generation_id)
  from public.images i
  where i.generation_id in (select t.generation_id from batchgen.generation_tags t where t.generation_id = any (v_ids));
end
$$;
revoke execute on function batchgen.tag_pictures(batchgen.queue[]) from public, anon, authenticated, service_role;
comment on function batchgen.tag_pictures(batchgen.queue[]) is 'Puts the requested tags on finished pictures.';

-- tag_image(p_image_id, p_generation_id)
-- Put the requested tags on a finished picture; create missing ones.
-- Caller: tag_pictures.
create function batchgen.tag_image(p_image_id uuid, p_generation_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if not exists (select from batchgen.generation_tags t where t.generation_id = p_generation_id) then
    return;
  end if;
  insert into public.tags (name)
  select t.name from batchgen.generation_tags t where t.generation_id = p_generation_id order by t.name
  on conflict do nothing;
  insert into public.image_tags (image_id, tag_id)
  select p_image_id, g.id
  from batchgen.generation_tags t join public.tags g on g.name = t.name
  where t.generation_id = p_generation_id
    and not exists (select from public.image_tags i where i.image_id = p_image_id and i.tag_id = g.id);
end
$$;
revoke execute on function batchgen.tag_image(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.tag_image(uuid, uuid) is 'Puts the requested tags of an item on its picture.';

-- note_charges(p_results, p_items)
-- Record the charges of delivered pictures: charged, unless the provider said otherwise in the result's order.
-- Errors: PT422 for an invalid order.
create function batchgen.note_charges(p_results jsonb, p_items batchgen.queue[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  perform batchgen.note_order_state(
    i.order_key, (true, coalesce(s.charged, true), s.queued_seconds, s.running_seconds)::batchgen.order_state
  )
  from unnest(p_items) i join jsonb_array_elements(p_results) e on (e.value ->> 'lease_id')::uuid = i.lease_id
  cross join lateral batchgen.read_order_state('p_result.order', e.value -> 'result' -> 'order') s
  where i.order_key is not null;
end
$$;
revoke execute on function batchgen.note_charges(jsonb, batchgen.queue[])
from public, anon, authenticated, service_role;
comment on function batchgen.note_charges(jsonb, batchgen.queue[]) is 'Records the charges of finished pictures.';

-- end_as_completed(p_items)
-- Mark items as completed; only complete_items does so.
-- States: processing -> completed. Triggers delete the queue rows and update the ledger and the totals.
create function batchgen.end_as_completed(p_items batchgen.queue[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  update public.image_generations g
  set status = 'completed', error_message = null, error_code = null, completed_at = clock_timestamp(),
    generation_time_seconds = least(
      greatest(ceil(extract(epoch from clock_timestamp() - i.started_at)), 0), 2147483647
    )::integer
  from unnest(p_items) i
  where g.id = i.generation_id;
end
$$;
revoke execute on function batchgen.end_as_completed(batchgen.queue[]) from public, anon, authenticated, service_role;
comment on function batchgen.end_as_completed(batchgen.queue[]) is 'Marks items as completed.';

-- note_success(p_items)
-- Close the breakers of the items' models and reset the refusals of their providers. Last of all, so that a session
-- that holds a provider or breaker waits for nothing else.
create function batchgen.note_success(p_items batchgen.queue[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  delete from batchgen.breakers b where b.model_id in (select i.model_id from unnest(p_items) i);
  if exists (select from batchgen.providers p where p.refusals > 0) then
    update batchgen.providers p set refusals = 0
    where p.refusals > 0
      and p.name in (select coalesce(i.provider, batchgen.provider_of(i.model_id)) from unnest(p_items) i);
  end if;
end
$$;
revoke execute on function batchgen.note_success(batchgen.queue[]) from public, anon, authenticated, service_role;
comment on function batchgen.note_success(batchgen.queue[]) is
  'Closes the breakers of models and resets the refusals of providers that made a picture.';
