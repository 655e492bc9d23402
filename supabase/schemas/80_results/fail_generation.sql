-- fail_generation(p_generation_id, p_lease_id, p_error)
-- End an attempt of a leased item. p_error: {code, message, retryable, retry_after_seconds, provider, provider_fault,
-- model_fault, order: as batchgen.order_state}. Returns {status, retry_count, retry_in_seconds}.
--
-- Waits (retryable with retry_after_seconds): no worker calls the provider before that time. provider names it, by
-- default the one of the item's job or model. With model_fault only the model is paused. An item that is told to wait
-- repeatedly, and a provider that refuses repeatedly, wait longer: at least 1 s, 2 s, 4 s, … 5 min.
-- provider_fault is for the model's breaker: true, one more fault; false, the provider works; missing, neither.
-- An order of unknown state counts as over, unless the provider asks to wait.
--
-- Caller: service_role.
-- States: processing ->
--   pending, due after retry_after_seconds, if given with retryable: not an attempt
--   pending, retry_count + 1, due after the next of settings.retry_delays_seconds, if retryable and retries are left
--   failed, with the message, otherwise. An item whose owner cancelled it: failed as cancelled.
-- Locks: as batchgen.hold_lease, then the order, then providers and breakers.
-- Errors: PT409 if the lease is not held; PT422 for an invalid p_error.
create function public.fail_generation(p_generation_id uuid, p_lease_id uuid, p_error jsonb) returns jsonb
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_settings batchgen.settings;
  v_item batchgen.queue;
  v_status text := 'pending';
  v_retry_count integer;
  v_code text := coalesce(nullif(p_error ->> 'code', ''), 'failed');
  v_message text := coalesce(nullif(p_error ->> 'message', ''), 'The picture could not be made.');
  v_retryable boolean := coalesce(p_error -> 'retryable' = 'true'::jsonb, false);
  v_wait double precision;
  v_requested_wait double precision;
  v_order batchgen.orders;
  v_state batchgen.order_state;
begin
  v_wait := batchgen.read_retry_after(p_error);
  v_state := batchgen.read_order_state('p_error.order', p_error -> 'order');
  v_item := batchgen.hold_lease(p_generation_id, p_lease_id);
  select s.* into v_settings from batchgen.settings s;
  select greatest(coalesce(g.retry_count, 0), 0) into v_retry_count
  from public.image_generations g where g.id = p_generation_id;
  -- A wait does not end the job: unless it is said to be over, it stays attached and is resumed.
  v_state.over := coalesce(v_state.over, not (v_retryable and v_wait is not null));
  if v_retryable and v_item.cancel_requested then
    v_retryable := false;
    v_code := 'cancelled';
    v_message := 'Cancelled by user';
  end if;

  perform batchgen.note_order_state(v_item.order_key, v_state);
  select o.* into v_order from batchgen.orders o where o.key = v_item.order_key;
  v_retryable := v_retryable and not (v_order.is_late is true and v_state.over);
  update batchgen.queue q
  set fault_code = left(v_code, 100), order_over = v_state.over,
    wait_count = case when v_retryable and v_wait is not null then least(q.wait_count, 1000000) + 1 else 0 end
  where q.generation_id = p_generation_id;

  if v_retryable and v_wait is not null then
    v_requested_wait := v_wait;
    v_wait := greatest(v_wait, batchgen.shortest_wait(v_item.wait_count + 1));
    perform batchgen.take_back(array[p_generation_id], v_wait, false, false);
    if p_error -> 'model_fault' = 'true'::jsonb then
      perform batchgen.close_model(v_item.model_id, v_wait, v_code, v_message);
    else
      perform batchgen.pause_provider(
        coalesce(nullif(p_error ->> 'provider', ''), v_item.provider, batchgen.provider_of(v_item.model_id)),
        v_requested_wait, v_code, v_item.started_at
      );
    end if;
  elsif v_retryable and v_retry_count < v_settings.max_retries then
    v_retry_count := v_retry_count + 1;
    v_wait := v_settings.retry_delays_seconds[least(v_retry_count, cardinality(v_settings.retry_delays_seconds))];
    perform batchgen.take_back(array[p_generation_id], v_wait, false, true);
  else
    -- An item that had ended before, and ran again only to fetch its picture, gets its earlier error back.
    perform batchgen.end_as_failed(array[p_generation_id], coalesce(v_order.late_code, v_code),
      coalesce(v_order.late_message, v_message));
    v_status := 'failed';
    v_wait := null;
  end if;
  -- Last of all, so that a session that holds a breaker waits for nothing else.
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
comment on function public.fail_generation(uuid, uuid, jsonb) is
  'For workers: ends an attempt of a leased item, which is retried or fails.';

-- read_retry_after(p_error)
-- The wait in seconds that an error asks for, from 0 to one day; null if none.
-- Caller: fail_generation. Errors: PT422.
create function batchgen.read_retry_after(p_error jsonb) returns double precision
language plpgsql set search_path = '' as $$
declare
  v_seconds jsonb := p_error -> 'retry_after_seconds';
begin
  if jsonb_typeof(p_error) is distinct from 'object' then
    perform batchgen.refuse_argument('p_error', 'is not an object',
      'Send {code, message, retryable, retry_after_seconds}.');
  end if;
  if jsonb_typeof(v_seconds) = 'number' then
    -- Rounded: a number too close to zero for double precision would raise an error.
    return round(least(greatest(v_seconds::text::numeric, 0), 86400), 6)::double precision;
  elsif coalesce(jsonb_typeof(v_seconds), 'null') <> 'null' then
    perform batchgen.refuse_argument('p_error.retry_after_seconds', 'is not a number',
      'Send seconds as a number, or leave it out.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.read_retry_after(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_retry_after(jsonb) is 'The wait in seconds that an error asks for.';
