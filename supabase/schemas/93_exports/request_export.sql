-- request_export(p_batch_ids)
-- Ask for a ZIP file of batches, for the signed-in user. Returns the open export of the same batches if there is one,
-- else a new one; both as export_answer.
-- States: none -> pending.
-- Locks: the user's row in user_rate_limits, so that two requests at once count each other.
-- Errors: PT401; PT404 batch_not_found; PT422 for arguments, nothing_to_export and export_too_large; PT429
-- daily_exports and daily_export_bytes.
create function batchgen_api.request_export(p_batch_ids uuid[]) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[];
  v_export batchgen.exports;
  v_pictures integer;
  v_bytes bigint;
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  v_ids := batchgen.exported_batches(auth.uid(), p_batch_ids);
  perform batchgen.lock_limits(auth.uid());
  select e.* into v_export from batchgen.exports e
  where e.user_id = auth.uid() and e.batch_ids = v_ids and e.status in ('pending', 'processing');
  if found then
    return batchgen.export_answer(v_export);
  end if;
  select count(*), coalesce(sum(greatest(i.file_size, 0)), 0) into v_pictures, v_bytes
  from public.image_generations g join public.images i on i.generation_id = g.id
  where g.batch_id = any (v_ids) and i.user_id = auth.uid() and i.archived_at is null;
  if v_pictures = 0 then
    perform batchgen.refuse('nothing_to_export', 'These batches have no pictures.', 'p_batch_ids',
      'Wait until the first picture is finished, or choose other batches.');
  end if;
  perform batchgen.refuse_export_over_limit(auth.uid(), v_bytes);
  delete from batchgen.exports e
  where e.user_id = auth.uid() and e.ended_at < clock_timestamp() - interval '30 days';
  insert into batchgen.exports (user_id, batch_ids, planned_bytes, picture_count)
  values (auth.uid(), v_ids, v_bytes, v_pictures) returning * into v_export;
  return batchgen.export_answer(v_export);
end
$$;
revoke execute on function batchgen_api.request_export(uuid[]) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.request_export(uuid[]) to authenticated;
comment on function batchgen_api.request_export(uuid[]) is 'Behind public.request_export: for the signed-in user.';

-- request_export(p_batch_ids)
-- Ask for ZIP files with the pictures of batches; a worker builds them. Returns the export as get_exports does.
-- Repeating the call while an export of the same batches is open returns that export.
-- Caller: authenticated, for batches of their own.
-- Errors: PT401; PT404 batch_not_found; PT422 batches_missing, too_many_batches, nothing_to_export, export_too_large;
-- PT429 daily_exports, daily_export_bytes.
create function public.request_export(p_batch_ids uuid[]) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.request_export(p_batch_ids)
$$;
revoke execute on function public.request_export(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.request_export(uuid[]) to authenticated;
comment on function public.request_export(uuid[]) is
  'Asks for ZIP files with the pictures of the user''s batches; get_exports tells when they are ready.';

-- exported_batches(p_user_id, p_batch_ids)
-- The ids of the batches, sorted, each once. Refuse any that is not the user's.
create function batchgen.exported_batches(p_user_id uuid, p_batch_ids uuid[]) returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
declare
  v_ids uuid[];
begin
  if coalesce(cardinality(p_batch_ids), 0) = 0 then
    perform batchgen.refuse('batches_missing', 'p_batch_ids has no ids.', 'p_batch_ids', 'Send 1 to 100 ids.', null,
      to_jsonb(100));
  end if;
  if cardinality(p_batch_ids) > 100 then
    perform batchgen.refuse('too_many_batches',
      format('p_batch_ids has %s ids; at most 100 are allowed.', cardinality(p_batch_ids)), 'p_batch_ids',
      'Ask for several exports.', null, to_jsonb(100));
  end if;
  v_ids := array(select distinct i.id from unnest(p_batch_ids) i (id) order by 1);
  if exists (
    select from unnest(v_ids) i (id)
    where not exists (select from public.batch_generations b where b.id = i.id and b.user_id = p_user_id)
  ) then
    perform batchgen.refuse('batch_not_found', 'Batch not found, or it belongs to another user.', 'p_batch_ids',
      'Use the ids of your own batches.', null, null, 'PT404');
  end if;
  return v_ids;
end
$$;
revoke execute on function batchgen.exported_batches(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.exported_batches(uuid, uuid[]) is
  'The batches of an export, sorted; refuses those of other users.';

-- refuse_export_over_limit(p_user_id, p_bytes)
-- Refuse an export of p_bytes if it exceeds the number or the bytes of 24 hours. resets_at is when enough of the user's
-- exports no longer count.
create function batchgen.refuse_export_over_limit(p_user_id uuid, p_bytes bigint) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_used record;
  v_is_number boolean;
  v_resets_at timestamptz;
  v_message text;
begin
  select s.* into v_settings from batchgen.settings s;
  if p_bytes > v_settings.export_bytes_per_day then
    perform batchgen.refuse('export_too_large', format('The pictures have %s bytes; an export has at most %s.',
      p_bytes, v_settings.export_bytes_per_day), 'p_batch_ids', 'Export fewer batches.', null,
      to_jsonb(v_settings.export_bytes_per_day));
  end if;
  select count(*) as number, coalesce(sum(e.planned_bytes), 0) as bytes into v_used from batchgen.exports e
  where e.user_id = p_user_id and e.created_at > clock_timestamp() - interval '1 day';
  v_is_number := v_used.number >= v_settings.exports_per_day;
  if not v_is_number and v_used.bytes + p_bytes <= v_settings.export_bytes_per_day then
    return;
  end if;
  select min(o.created_at) + interval '1 day' into v_resets_at
  from (
    select e.created_at, row_number() over w as number, sum(e.planned_bytes) over w as bytes
    from batchgen.exports e
    where e.user_id = p_user_id and e.created_at > clock_timestamp() - interval '1 day'
    window w as (order by e.created_at, e.id)
  ) o
  where v_used.number - o.number < v_settings.exports_per_day
    and v_used.bytes - o.bytes + p_bytes <= v_settings.export_bytes_per_day;
  v_message := case
    when v_is_number then format('Your daily limit of exports is reached: %s.', v_settings.exports_per_day)
    else format('Your daily limit of exports is %s bytes: %s are used, and this needs %s more.',
      v_settings.export_bytes_per_day, v_used.bytes, p_bytes)
  end;
  raise exception using errcode = 'PT429', message = v_message, hint = 'Try again after it resets.',
    detail = jsonb_build_object(
      'code', case when v_is_number then 'daily_exports' else 'daily_export_bytes' end, 'message', v_message,
      'index', null, 'field', case when v_is_number then 'exports_per_day' else 'export_bytes_per_day' end,
      'limit', case when v_is_number then v_settings.exports_per_day else v_settings.export_bytes_per_day end,
      'remedy', 'Try again after it resets.', 'resets_at', v_resets_at,
      'retry_after_seconds', ceil(extract(epoch from v_resets_at - clock_timestamp()))
    )::text;
end
$$;
revoke execute on function batchgen.refuse_export_over_limit(uuid, bigint)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_export_over_limit(uuid, bigint) is
  'Refuses an export that exceeds the user''s daily number or bytes.';
