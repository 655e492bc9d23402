-- count_provider_fault(p_item)
-- Count a provider fault of an item.
-- States: closed -> open at the settings.breaker_failures-th failed item; half open -> open if the probe failed.
-- Attempts that began before the breaker opened do not count.
create function batchgen.count_provider_fault(p_item batchgen.queue) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_breaker batchgen.breakers;
begin
  insert into batchgen.breakers (model_id) values (p_item.model_id) on conflict do nothing;
  select b.* into v_breaker from batchgen.breakers b where b.model_id = p_item.model_id for update;
  if not found or (v_breaker.opened_until is not null
    and v_breaker.probe_lease_id is distinct from p_item.lease_id) then
    return;
  end if;
  select s.* into v_settings from batchgen.settings s;
  if not p_item.generation_id = any (v_breaker.failed_generation_ids) then
    v_breaker.failed_generation_ids := (p_item.generation_id
      || v_breaker.failed_generation_ids)[:v_settings.breaker_failures];
  end if;
  if v_breaker.opened_until is not null
    or cardinality(v_breaker.failed_generation_ids) >= v_settings.breaker_failures then
    v_breaker.opened_until := clock_timestamp() + make_interval(secs => v_settings.breaker_open_seconds);
  end if;
  update batchgen.breakers b
  set failed_generation_ids = v_breaker.failed_generation_ids, opened_until = v_breaker.opened_until,
    probe_lease_id = null, updated_at = now()
  where b.model_id = p_item.model_id;
end
$$;
revoke execute on function batchgen.count_provider_fault(batchgen.queue) from public, anon, authenticated, service_role;
comment on function batchgen.count_provider_fault(batchgen.queue) is
  'Counts a provider fault of a model; the last one opens the breaker.';

-- close_model(p_model_id, p_seconds, p_reason, p_message)
-- Open a model's breaker for p_seconds, since its row or the account's access to it needs repair. p_message tells the
-- reason to callers who ask why an item waits.
create function batchgen.close_model(
  p_model_id uuid, p_seconds double precision, p_reason text, p_message text
) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.breakers as b (model_id, opened_until, reason, message)
  values (p_model_id, clock_timestamp() + make_interval(secs => p_seconds), left(p_reason, 100), left(p_message, 500))
  on conflict (model_id) do update
  set opened_until = greatest(b.opened_until, excluded.opened_until), reason = excluded.reason,
    message = excluded.message,
    probe_lease_id = null, updated_at = now()
$$;
revoke execute on function batchgen.close_model(uuid, double precision, text, text)
from public, anon, authenticated, service_role;
comment on function batchgen.close_model(uuid, double precision, text, text) is
  'Opens a model''s breaker at once: its row needs repair.';

-- close_breaker(p_model_id)
-- Close the breaker after a success. The next claim unparks the waiting items.
create function batchgen.close_breaker(p_model_id uuid) returns void
language sql security definer set search_path = '' as $$
  delete from batchgen.breakers b where b.model_id = p_model_id
$$;
revoke execute on function batchgen.close_breaker(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.close_breaker(uuid) is 'Closes a model''s breaker after a success.';
