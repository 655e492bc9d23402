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
