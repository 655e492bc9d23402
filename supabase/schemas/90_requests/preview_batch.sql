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
