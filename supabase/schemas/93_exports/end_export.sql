-- complete_export(p_export_id, p_lease_id, p_result)
-- End an export as ready. p_result: {parts: [{name, path, bytes, url}], pictures, missing}. The outbox deletes the
-- files when the links end.
-- Caller: service_role.
-- States: processing -> ready.
-- Errors: PT409 lease_lost; PT422 if a part was not recorded by note_export_file.
create function public.complete_export(p_export_id uuid, p_lease_id uuid, p_result jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
  v_hours integer := (select s.export_hours from batchgen.settings s);
  v_paths text[];
begin
  if coalesce(jsonb_typeof(p_result -> 'parts'), '') <> 'array' then
    perform batchgen.refuse_argument('p_result', 'has no list of parts', 'Send {parts, pictures, missing}.');
  end if;
  v_paths := array(select p ->> 'path' from jsonb_array_elements(p_result -> 'parts') p);
  if v_paths = '{}' or array_position(v_paths, null) is not null or not v_paths <@ v_export.files then
    perform batchgen.refuse_argument('p_result', 'has a part that was not recorded',
      'Call note_export_file before a file is stored.');
  end if;
  update batchgen.exports e
  set status = 'ready', ended_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(hours => v_hours),
    lease_id = null, lease_expires_at = null, worker = null, error_code = null, error_message = null,
    parts = p_result -> 'parts', picture_count = coalesce((p_result ->> 'pictures')::integer, 0),
    done_count = coalesce((p_result ->> 'pictures')::integer, 0),
    missing_count = coalesce((p_result ->> 'missing')::integer, 0)
  where e.id = v_export.id;
  perform batchgen.drop_export_files(v_paths, make_interval(hours => v_hours));
end
$$;
revoke execute on function public.complete_export(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.complete_export(uuid, uuid, jsonb) to service_role;
comment on function public.complete_export(uuid, uuid, jsonb) is 'For workers: ends an export as ready.';

-- fail_export(p_export_id, p_lease_id, p_error)
-- End an attempt. p_error: {code, message, retryable}. If retryable, the export is tried again after 30 s and 2 min,
-- three attempts in all; the code handed_back (a worker that stops) uses up no attempt.
-- Caller: service_role.
-- States: processing -> pending or failed.
-- Errors: PT409 lease_lost.
create function public.fail_export(p_export_id uuid, p_lease_id uuid, p_error jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
  v_code text := left(coalesce(p_error ->> 'code', 'unknown'), 100);
  v_is_handed_back boolean := v_code = 'handed_back';
  v_is_over boolean := not v_is_handed_back
    and (coalesce(p_error -> 'retryable', 'false') <> 'true' or v_export.attempts >= 3);
begin
  perform batchgen.drop_export_files(v_export.files, interval '15 minutes');
  update batchgen.exports e
  set status = case when v_is_over then 'failed' else 'pending' end,
    ended_at = case when v_is_over then clock_timestamp() end, lease_id = null, lease_expires_at = null, worker = null,
    attempts = e.attempts - v_is_handed_back::integer,
    error_code = case when v_is_handed_back then e.error_code else v_code end,
    error_message = case when v_is_handed_back then e.error_message else left(p_error ->> 'message', 1000) end,
    due_at = case
      when v_is_handed_back then clock_timestamp()
      else clock_timestamp() + interval '30 seconds' * 4 ^ (least(e.attempts, 5) - 1)
    end
  where e.id = v_export.id;
end
$$;
revoke execute on function public.fail_export(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.fail_export(uuid, uuid, jsonb) to service_role;
comment on function public.fail_export(uuid, uuid, jsonb) is
  'For workers: ends an attempt to build an export; it is retried or fails.';
