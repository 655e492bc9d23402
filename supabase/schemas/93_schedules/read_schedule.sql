-- Parsing of a schedule: each function reads one part and refuses invalid input (PT422).

-- read_time_zone(p_name)
-- The exact name of an IANA time zone: workers look it up in their own database of time zones.
create function batchgen.read_time_zone(p_name text) returns text
language plpgsql stable set search_path = '' as $$
begin
  if p_name !~ '^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$' or p_name ~ '^(posix|right)/'
    or not exists (select from pg_catalog.pg_timezone_names z where z.name = p_name)
  then
    perform batchgen.refuse('unknown_time_zone', format('time_zone is not a time zone: %s.', left(p_name, 60)),
      'time_zone', 'Send a name of the IANA database, such as Europe/Berlin, or UTC.');
  end if;
  return p_name;
end
$$;
revoke execute on function batchgen.read_time_zone(text) from public, anon, authenticated, service_role;
comment on function batchgen.read_time_zone(text) is 'The name of an IANA time zone, checked.';

-- read_run_at(p_value, p_time_zone)
-- The time of a schedule that runs once; null if missing. A time without an offset is in the schedule's time zone.
create function batchgen.read_run_at(p_value jsonb, p_time_zone text) returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
  v_text text := batchgen.read_text(p_value, 'run_at', 40);
  v_time timestamptz;
begin
  if v_text is null then
    return null;
  end if;
  begin
    if v_text ~* '^\d{4}-\d\d-\d\d[t ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?$' then
      v_time := v_text::timestamp at time zone p_time_zone;
    elsif v_text ~* '^\d{4}-\d\d-\d\d[t ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(z|[+-]\d\d:?\d\d)$' then
      v_time := v_text::timestamptz;
    end if;
  exception when data_exception then
    v_time := null;
  end;
  if v_time is null then
    perform batchgen.refuse('wrong_type', 'run_at is not a time.', 'run_at',
      'Send a time such as 2027-03-01T09:00:00+01:00, or without an offset for a time in time_zone.');
  end if;
  if v_time not between clock_timestamp() - interval '1 minute' and clock_timestamp() + interval '10 years' then
    perform batchgen.refuse('out_of_range', 'run_at is in the past, or more than ten years ahead.', 'run_at',
      'Send a time to come.');
  end if;
  return v_time;
end
$$;
revoke execute on function batchgen.read_run_at(jsonb, text) from public, anon, authenticated, service_role;
comment on function batchgen.read_run_at(jsonb, text) is 'The time of a schedule that runs once, checked.';

-- read_scheduled_request(p_user_id, p_request)
-- The request of a schedule, checked as create_batch checks it now, without its limits. Each run makes a new batch, so
-- it has no client_key.
create function batchgen.read_scheduled_request(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings := (select s from batchgen.settings s);
begin
  if coalesce(jsonb_typeof(p_request), 'null') <> 'object' then
    perform batchgen.refuse('wrong_type', 'request is not an object.', 'request',
      'Send {prompts, shared_settings, batch_name}, as for create_batch.');
  end if;
  if p_request ? 'client_key' then
    perform batchgen.refuse('unknown_field', 'request.client_key is not a field of a schedule''s request.',
      'request.client_key', 'Leave it out: each run makes a new batch.');
  end if;
  perform batchgen.check_request(p_request, v_settings);
  perform batchgen.read_batch(p_user_id, p_request);
  return p_request;
end
$$;
revoke execute on function batchgen.read_scheduled_request(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_scheduled_request(uuid, jsonb) is
  'The request of a schedule, checked as create_batch checks it.';

-- read_schedule(p_schedule, p_changes)
-- The schedule with the fields of p_changes, which may be all of a new one or some of an existing one. run_at replaces
-- cron, and cron run_at.
create function batchgen.read_schedule(
  p_schedule batchgen.batch_schedules, p_changes jsonb
) returns batchgen.batch_schedules
language plpgsql security definer set search_path = '' as $$
declare
  v_schedule batchgen.batch_schedules := p_schedule;
  v_given text[];
begin
  if coalesce(jsonb_typeof(p_changes), 'null') <> 'object' then
    perform batchgen.refuse('wrong_type', 'The schedule is not an object.', 'schedule',
      'Send {request, cron or run_at, time_zone, name, missed_runs, paused}.');
  end if;
  perform batchgen.refuse_unknown_fields(p_changes, '', '{name,request,run_at,cron,time_zone,missed_runs,paused}'
    || case when p_schedule.id is null then '{client_key}' else '{}' end::text[]);
  v_given := array(select e.key from jsonb_each(p_changes) e where jsonb_typeof(e.value) <> 'null');
  if '{run_at,cron}' <@ v_given or (p_schedule.id is null and not '{run_at,cron}' && v_given) then
    perform batchgen.refuse('wrong_type', 'A schedule has either run_at or cron.', 'cron',
      'Send run_at for one run, or cron for many.');
  end if;
  if p_changes ? 'name' then
    v_schedule.name := nullif(batchgen.read_text(p_changes -> 'name', 'name', 200), '');
  end if;
  if 'time_zone' = any (v_given) then
    v_schedule.time_zone := batchgen.read_time_zone(batchgen.read_text(p_changes -> 'time_zone', 'time_zone', 100));
  end if;
  if 'run_at' = any (v_given) then
    v_schedule.run_at := batchgen.read_run_at(p_changes -> 'run_at', v_schedule.time_zone);
    v_schedule.cron := null;
  elsif 'cron' = any (v_given) then
    v_schedule.cron := batchgen.read_cron(batchgen.read_text(p_changes -> 'cron', 'cron', 400));
    v_schedule.run_at := null;
  end if;
  if 'missed_runs' = any (v_given) then
    v_schedule.missed_runs := batchgen.read_text(p_changes -> 'missed_runs', 'missed_runs', 10);
    if v_schedule.missed_runs not in ('skip', 'one', 'all') then
      perform batchgen.refuse('out_of_range', 'missed_runs is none of skip, one and all.', 'missed_runs',
        'Send skip, one or all.', null, '["skip", "one", "all"]');
    end if;
  end if;
  if 'paused' = any (v_given) then
    if jsonb_typeof(p_changes -> 'paused') <> 'boolean' then
      perform batchgen.refuse('wrong_type', 'paused is neither true nor false.', 'paused', 'Send true or false.');
    end if;
    v_schedule.paused_at := case
      when (p_changes -> 'paused')::boolean then coalesce(v_schedule.paused_at, clock_timestamp())
    end;
  end if;
  if 'request' = any (v_given) or p_schedule.id is null then
    v_schedule.request := batchgen.read_scheduled_request(v_schedule.user_id, p_changes -> 'request');
  end if;
  return v_schedule;
end
$$;
revoke execute on function batchgen.read_schedule(batchgen.batch_schedules, jsonb)
from public, anon, authenticated, service_role;
comment on function batchgen.read_schedule(batchgen.batch_schedules, jsonb) is 'A schedule with changes, checked.';
