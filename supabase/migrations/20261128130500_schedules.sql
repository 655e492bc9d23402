-- Schedules: requests that run at a time, or again and again by a cron expression.

-- Schedules of users: requests that run once at a time, or again and again by a cron expression. SQL cannot read cron
-- expressions across changes of the clocks, so workers compute the times of the next runs (slots) ahead, and SQL runs
-- the slots that are due: docs/decisions/0009-workers-compute-the-times-of-schedules.md.
create table batchgen.batch_schedules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text constraint schedule_name_is_short check (length(name) between 1 and 200),
  request jsonb not null constraint schedule_request_is_an_object check (jsonb_typeof(request) = 'object'),
  run_at timestamptz constraint schedule_time_is_finite check (isfinite(run_at)),
  cron text constraint cron_has_five_fields check (cron ~ '^\S+( \S+){4}$' and length(cron) <= 400),
  time_zone text not null default 'UTC' constraint time_zone_is_short check (length(time_zone) between 1 and 100),
  missed_runs text not null default 'one'
    constraint missed_runs_is_a_rule check (missed_runs in ('skip', 'one', 'all')),
  paused_at timestamptz,
  client_key text,
  body_hash bytea,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version integer not null default 1,
  slots timestamptz[] not null default '{}',
  planned_until timestamptz not null default now(),
  retry_at timestamptz,
  problem jsonb,
  due_at timestamptz not null generated always as (
    case
      when paused_at is not null then 'infinity'
      when retry_at is null then coalesce(slots[1], 'infinity')
      when missed_runs = 'one' then least(retry_at, coalesce(slots[2], 'infinity'))
      else retry_at
    end
  ) stored,
  plan_at timestamptz not null generated always as (
    case
      when problem is not null or planned_until = 'infinity' then 'infinity'
      else coalesce(slots[cardinality(slots) - 4], '-infinity')
    end
  ) stored,
  constraint a_schedule_runs_once_or_by_cron check ((run_at is null) <> (cron is null)),
  constraint a_client_key_makes_one_schedule unique (user_id, client_key)
);
create index batch_schedules_due on batchgen.batch_schedules (due_at, id);
create index batch_schedules_plan on batchgen.batch_schedules (plan_at, id);
create index batch_schedules_created on batchgen.batch_schedules (created_at, id);

alter table batchgen.batch_schedules enable row level security;
create policy "Nobody" on batchgen.batch_schedules for all to public using (false);
revoke all on batchgen.batch_schedules from public, anon, authenticated, service_role;

comment on table batchgen.batch_schedules is
  'Requests that run at a time, or again and again by a cron expression. Edit and pause them here, too.';
comment on column batchgen.batch_schedules.id is 'Surrogate key.';
comment on column batchgen.batch_schedules.user_id is 'User whose batches the schedule makes.';
comment on column batchgen.batch_schedules.name is 'Name for people.';
comment on column batchgen.batch_schedules.request is 'The request of each run, as for create_batch.';
comment on column batchgen.batch_schedules.run_at is 'Time of the only run; empty if there is a cron expression.';
comment on column batchgen.batch_schedules.cron is
  'Minute, hour, day of month, month, day of week (0 and 7 are Sunday), in time_zone.';
comment on column batchgen.batch_schedules.time_zone is 'IANA time zone, such as Europe/Berlin.';
comment on column batchgen.batch_schedules.missed_runs is
  'Which slots run that were missed or refused: skip (none), one (the last), all (up to settings.max_missed_runs).';
comment on column batchgen.batch_schedules.paused_at is 'Since when nothing runs; empty it to go on.';
comment on column batchgen.batch_schedules.client_key is
  'Key that the sender gave: a repeated call makes no second schedule.';
comment on column batchgen.batch_schedules.body_hash is 'Hash of the schedule as it was sent with client_key.';
comment on column batchgen.batch_schedules.created_at is 'When it was created.';
comment on column batchgen.batch_schedules.updated_at is 'When it was last edited.';
comment on column batchgen.batch_schedules.version is 'Rises with every change of its times.';
comment on column batchgen.batch_schedules.slots is 'Times to run at, as far as they are planned and not yet decided.';
comment on column batchgen.batch_schedules.planned_until is
  'All slots up to here are planned; infinity if there are no more.';
comment on column batchgen.batch_schedules.retry_at is 'When the first slot, which was refused, is tried again.';
comment on column batchgen.batch_schedules.problem is 'Why no times can be computed, as a refusal; empty if they can.';
comment on column batchgen.batch_schedules.due_at is 'When a worker has to run or decide a slot.';
comment on column batchgen.batch_schedules.plan_at is 'When fewer than five slots are ahead.';

create table batchgen.schedule_runs (
  schedule_id uuid not null references batchgen.batch_schedules (id) on delete cascade,
  slot timestamptz not null,
  outcome text not null constraint outcome_of_a_run check (outcome in ('submitted', 'refused', 'missed')),
  fired_at timestamptz not null,
  attempts integer not null default 1 constraint run_attempts_in_range check (attempts >= 0),
  batch_id uuid references public.batch_generations (id) on delete set null,
  refusal jsonb,
  retry_at timestamptz,
  primary key (schedule_id, slot),
  constraint a_refused_run_says_why check ((outcome = 'refused') = (refusal is not null)),
  constraint a_submitted_run_is_over check (outcome = 'refused' or retry_at is null)
);
create index schedule_runs_batch on batchgen.schedule_runs (batch_id);

alter table batchgen.schedule_runs enable row level security;
create policy "Nobody" on batchgen.schedule_runs for all to public using (false);
revoke all on batchgen.schedule_runs from public, anon, authenticated, service_role;

comment on table batchgen.schedule_runs is 'Decided slots of schedules: each made a batch, was refused or was missed.';
comment on column batchgen.schedule_runs.schedule_id is 'The schedule.';
comment on column batchgen.schedule_runs.slot is 'Time that the schedule named.';
comment on column batchgen.schedule_runs.outcome is
  'submitted: a batch was made; refused: the request was refused; missed: the rule of the schedule let it pass.';
comment on column batchgen.schedule_runs.fired_at is 'When the slot was decided, or last tried.';
comment on column batchgen.schedule_runs.attempts is 'How often its request was tried.';
comment on column batchgen.schedule_runs.batch_id is 'The batch that it made; empty again if that was deleted.';
comment on column batchgen.schedule_runs.refusal is 'Why the request was refused last: code, message, field, remedy.';
comment on column batchgen.schedule_runs.retry_at is 'When it is tried again; empty if never.';

-- cron_values(p_field, p_least, p_most, p_names)
-- The values of one field of a cron expression, ascending, without duplicates; null if it is not one. Parts: *, 5, 1-5,
-- */15, 1-30/2, 5/10 (from 5 on), separated by commas. p_names: names of the values from p_least on.
create function batchgen.cron_values(
  p_field text, p_least integer, p_most integer, p_names text[] default '{}'
) returns integer[]
language plpgsql immutable set search_path = '' as $$
declare
  v_part text;
  v_match text[];
  v_range integer[];
  v_step integer;
  v_values integer[] := '{}';
begin
  foreach v_part in array string_to_array(lower(p_field), ',') loop
    v_match := regexp_match(v_part, '^(?:(\*)|([a-z]{3}|[0-9]{1,2})(?:-([a-z]{3}|[0-9]{1,2}))?)(?:/([0-9]{1,2}))?$');
    if v_match is null then
      return null;
    end if;
    v_range := array(
      select case when w.word ~ '^[0-9]' then w.word::integer else array_position(p_names, w.word) - 1 + p_least end
      from unnest(v_match[2:3]) with ordinality w (word, nth) order by w.nth
    );
    v_step := coalesce(v_match[4]::integer, 1);
    if v_match[1] is not null then
      v_range := array[p_least, p_most];
    elsif v_match[3] is null then
      v_range[2] := case when v_match[4] is null then v_range[1] else p_most end;
    elsif p_most = 7 and v_range[2] = 0 then
      v_range[2] := 7;  -- fri-sun
    end if;
    if not coalesce(p_least <= v_range[1] and v_range[1] <= v_range[2] and v_range[2] <= p_most and v_step > 0, false)
    then
      return null;
    end if;
    v_values := v_values || array(select generate_series(v_range[1], v_range[2], v_step));
  end loop;
  -- Days of the week: 7 is Sunday, like 0.
  return array(select distinct case when p_most = 7 then v % 7 else v end from unnest(v_values) v order by 1);
end
$$;
revoke execute on function batchgen.cron_values(text, integer, integer, text[])
from public, anon, authenticated, service_role;
comment on function batchgen.cron_values(text, integer, integer, text[]) is
  'The values of one field of a cron expression; null if it is not one.';

-- read_cron(p_cron)
-- A cron expression with single spaces, in lower case.
-- Errors: PT422 invalid_cron, never_runs, too_often.
create function batchgen.read_cron(p_cron text) returns text
language plpgsql stable set search_path = '' as $$
declare
  v_cron text := lower(btrim(regexp_replace(p_cron, '\s+', ' ', 'g')));
  v_fields text[] := string_to_array(v_cron, ' ');
  v_wrong text;
  v_gap integer;
  v_least integer := (select s.min_schedule_seconds from batchgen.settings s);
begin
  if cardinality(v_fields) is distinct from 5 or length(v_cron) > 400 then
    perform batchgen.refuse('invalid_cron', 'cron has not five fields.', 'cron',
      'Send minute, hour, day of month, month and day of week, such as 0 9 * * mon-fri.');
  end if;
  select format('the %s %L', f.name, left(v_fields[f.nth], 60)) into v_wrong
  from batchgen.cron_fields() f
  where batchgen.cron_values(v_fields[f.nth], f.lowest, f.highest, f.names) is null
  order by f.nth limit 1;
  if found then
    perform batchgen.refuse('invalid_cron', format('cron cannot be read: %s.', v_wrong), 'cron',
      'Each field is *, values, ranges (1-5) and steps (*/15), separated by commas; names are jan-dec and sun-sat.');
  end if;
  if batchgen.cron_never_runs(v_fields) then
    perform batchgen.refuse('never_runs', 'cron names days that no month has.', 'cron', 'Choose other days or months.');
  end if;
  v_gap := batchgen.shortest_cron_gap(v_fields);
  if v_gap < v_least then
    perform batchgen.refuse('too_often', format('cron runs again after %s seconds; at least %s are needed.', v_gap,
      v_least), 'cron', 'Choose fewer minutes or hours.', null, to_jsonb(v_least));
  end if;
  return v_cron;
end
$$;
revoke execute on function batchgen.read_cron(text) from public, anon, authenticated, service_role;
comment on function batchgen.read_cron(text) is 'A cron expression, checked, with single spaces.';

create function batchgen.cron_fields()
returns table (nth integer, name text, lowest integer, highest integer, names text[])
language sql immutable set search_path = '' as $$
  values
    (1, 'minute', 0, 59, '{}'::text[]), (2, 'hour', 0, 23, '{}'), (3, 'day of month', 1, 31, '{}'),
    (4, 'month', 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'),
    (5, 'day of week', 0, 7, '{sun,mon,tue,wed,thu,fri,sat}')
$$;
revoke execute on function batchgen.cron_fields() from public, anon, authenticated, service_role;
comment on function batchgen.cron_fields() is 'The fields of a cron expression, with their ranges and names.';

-- cron_never_runs(p_fields)
-- True if no month of the expression has any of its days. A day of week beside a day of month is an alternative to it.
create function batchgen.cron_never_runs(p_fields text[]) returns boolean
language sql immutable set search_path = '' as $$
  select p_fields[5] ~ '^\*' and not exists (
    select from unnest(batchgen.cron_values(p_fields[3], 1, 31)) day
    cross join unnest(
      batchgen.cron_values(p_fields[4], 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}')
    ) month
    where day <= case when month = 2 then 29 when month in (4, 6, 9, 11) then 30 else 31 end
  )
$$;
revoke execute on function batchgen.cron_never_runs(text[]) from public, anon, authenticated, service_role;
comment on function batchgen.cron_never_runs(text[]) is
  'True if a cron expression names only days that its months do not have.';

-- shortest_cron_gap(p_fields)
-- Shortest time between two runs in seconds, as if the expression ran every day.
create function batchgen.shortest_cron_gap(p_fields text[]) returns integer
language sql immutable set search_path = '' as $$
  with minutes as (
    select h * 60 + m as at from unnest(batchgen.cron_values(p_fields[2], 0, 23)) h
    cross join unnest(batchgen.cron_values(p_fields[1], 0, 59)) m
  )
  select min(g.gap)::integer * 60
  from (
    select coalesce(lead(t.at) over (order by t.at), (select min(f.at) + 1440 from minutes f)) - t.at as gap
    from minutes t
  ) g
$$;
revoke execute on function batchgen.shortest_cron_gap(text[]) from public, anon, authenticated, service_role;
comment on function batchgen.shortest_cron_gap(text[]) is 'Shortest time between two runs of a cron expression.';

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

-- schedule_state(p_schedule)
-- active, paused, ended (all of its slots are decided, and there are no more), or stopped (no times can be computed).
create function batchgen.schedule_state(p_schedule batchgen.batch_schedules) returns text
language sql immutable set search_path = '' as $$
  select case
    when p_schedule.problem is not null then 'stopped'
    when p_schedule.planned_until = 'infinity' and p_schedule.slots = '{}' then 'ended'
    when p_schedule.paused_at is not null then 'paused'
    else 'active'
  end
$$;
revoke execute on function batchgen.schedule_state(batchgen.batch_schedules)
from public, anon, authenticated, service_role;
comment on function batchgen.schedule_state(batchgen.batch_schedules) is
  'State of a schedule: active, paused, ended or stopped.';

create function batchgen.schedule_run_answer(p_run batchgen.schedule_runs) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('schedule_id', p_run.schedule_id, 'slot', p_run.slot, 'outcome', p_run.outcome,
    'fired_at', p_run.fired_at, 'attempts', p_run.attempts, 'batch_id', p_run.batch_id, 'refusal', p_run.refusal,
    'retry_at', p_run.retry_at)
  where p_run.schedule_id is not null
$$;
revoke execute on function batchgen.schedule_run_answer(batchgen.schedule_runs)
from public, anon, authenticated, service_role;
comment on function batchgen.schedule_run_answer(batchgen.schedule_runs) is 'A run of a schedule, for its owner.';

-- schedule_answer(p_schedule)
-- A schedule as its owner sees it. next_runs: up to five; empty until a worker has planned a new schedule, within
-- seconds. last_run: the newest decided slot.
create function batchgen.schedule_answer(p_schedule batchgen.batch_schedules) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'id', p_schedule.id, 'user_id', p_schedule.user_id, 'name', p_schedule.name, 'request', p_schedule.request,
    'run_at', p_schedule.run_at, 'cron', p_schedule.cron, 'time_zone', p_schedule.time_zone,
    'missed_runs', p_schedule.missed_runs, 'state', batchgen.schedule_state(p_schedule),
    'paused_at', p_schedule.paused_at, 'problem', p_schedule.problem,
    'created_at', p_schedule.created_at, 'updated_at', p_schedule.updated_at,
    'next_runs', to_jsonb(array(
      select s from unnest(p_schedule.slots) s where s > clock_timestamp() order by s limit 5
    )),
    'last_run', (
      select batchgen.schedule_run_answer(r) from batchgen.schedule_runs r
      where r.schedule_id = p_schedule.id order by r.slot desc limit 1
    )
  )
$$;
revoke execute on function batchgen.schedule_answer(batchgen.batch_schedules)
from public, anon, authenticated, service_role;
comment on function batchgen.schedule_answer(batchgen.batch_schedules) is 'A schedule as its owner sees it.';

-- before_schedule_written()
-- Keep the plan of a schedule in step with its times, whoever writes them: a user's call, or an admin in the Table
-- Editor. New times are planned from now on. Slots that pass while a schedule is paused do not run.
create function batchgen.before_schedule_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and (new.cron, new.run_at, new.time_zone) is not distinct from
    (old.cron, old.run_at, old.time_zone)
  then
    if old.paused_at is not null and new.paused_at is null then
      new.slots := array(select s from unnest(new.slots) s where s > clock_timestamp() order by s);
      new.planned_until := greatest(new.planned_until, clock_timestamp());
      new.retry_at := null;
    end if;
    return new;
  end if;
  if tg_op = 'UPDATE' and new.run_at is distinct from old.run_at and new.run_at is not null then
    new.cron := case when new.cron is distinct from old.cron then new.cron end;
  elsif tg_op = 'UPDATE' and new.cron is distinct from old.cron and new.cron is not null then
    new.run_at := null;
  end if;
  new.time_zone := batchgen.read_time_zone(new.time_zone);
  if new.cron is not null then
    new.cron := batchgen.read_cron(new.cron);
  end if;
  new.version := case when tg_op = 'UPDATE' then old.version + 1 else 1 end;
  new.slots := case when new.cron is null then array[new.run_at] else '{}' end;
  new.planned_until := case when new.cron is null then 'infinity' else clock_timestamp() end;
  new.retry_at := null;
  new.problem := null;
  return new;
end
$$;
revoke execute on function batchgen.before_schedule_written() from public, anon, authenticated, service_role;
comment on function batchgen.before_schedule_written() is 'Keeps the plan of a schedule in step with its times.';

create trigger before_schedule_written
before insert or update of cron, run_at, time_zone, paused_at on batchgen.batch_schedules
for each row execute function batchgen.before_schedule_written();

-- act_on_any_schedule(p_action, p_schedule_id, p_arguments)
-- Perform an action on a schedule for an operator; act_on_own_schedule is for the owner. Repeating an action changes
-- nothing more.
-- Locks: the schedule.
create function batchgen_api.act_on_any_schedule(
  p_action text, p_schedule_id uuid, p_arguments jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_schedule batchgen.batch_schedules;
begin
  select s.* into v_schedule from batchgen.batch_schedules s where s.id = p_schedule_id for update;
  if not found then
    perform batchgen.refuse_schedule();
  end if;
  if p_action = 'delete' then
    delete from batchgen.batch_schedules s where s.id = p_schedule_id;
    return jsonb_build_object('deleted', p_schedule_id);
  elsif p_action = 'edit' then
    v_schedule := batchgen.read_schedule(v_schedule, p_arguments);
  elsif p_action = 'pause' then
    v_schedule.paused_at := coalesce(v_schedule.paused_at, clock_timestamp());
  elsif p_action = 'resume' then
    v_schedule.paused_at := null;
  end if;
  update batchgen.batch_schedules s
  set name = v_schedule.name, request = v_schedule.request, run_at = v_schedule.run_at, cron = v_schedule.cron,
    time_zone = v_schedule.time_zone, missed_runs = v_schedule.missed_runs, paused_at = v_schedule.paused_at,
    updated_at = clock_timestamp()
  where s.id = p_schedule_id
    and (s.name, s.request, s.run_at, s.cron, s.time_zone, s.missed_runs, s.paused_at) is distinct from
      (v_schedule.name, v_schedule.request, v_schedule.run_at, v_schedule.cron, v_schedule.time_zone,
        v_schedule.missed_runs, v_schedule.paused_at)
  returning s.* into v_schedule;
  if not found then
    select s.* into v_schedule from batchgen.batch_schedules s where s.id = p_schedule_id;
  end if;
  return jsonb_build_object('schedule', batchgen.schedule_answer(v_schedule));
end
$$;
revoke execute on function batchgen_api.act_on_any_schedule(text, uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_any_schedule(text, uuid, jsonb) to service_role;
comment on function batchgen_api.act_on_any_schedule(text, uuid, jsonb) is
  'Behind the actions on schedules: for operators.';

create function batchgen.refuse_schedule() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('schedule_not_found', 'Schedule not found, or it belongs to another user.', 'p_schedule_id',
    'Use the id of one of your schedules.', null, null, 'PT404');
end
$$;
revoke execute on function batchgen.refuse_schedule() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_schedule() is 'Raises PT404: schedule not found, or it belongs to another user.';

-- check_own_schedule(p_schedule_id)
-- Refuse a schedule that is not the signed-in user's.
create function batchgen.check_own_schedule(p_schedule_id uuid) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from batchgen.batch_schedules s where s.id = p_schedule_id and s.user_id = auth.uid()) then
    perform batchgen.refuse_schedule();
  end if;
end
$$;
revoke execute on function batchgen.check_own_schedule(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.check_own_schedule(uuid) is 'Refuses a schedule that is not the signed-in user''s.';

create function batchgen_api.act_on_own_schedule(
  p_action text, p_schedule_id uuid, p_arguments jsonb
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.check_own_schedule(p_schedule_id);
  return batchgen_api.act_on_any_schedule(p_action, p_schedule_id, p_arguments);
end
$$;
revoke execute on function batchgen_api.act_on_own_schedule(text, uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_own_schedule(text, uuid, jsonb) to authenticated;
comment on function batchgen_api.act_on_own_schedule(text, uuid, jsonb) is
  'Behind the actions on schedules: for the owner.';

-- act_on_schedule(p_action, p_schedule_id, p_arguments)
-- Perform an action with the caller's rights: an operator's or an owner's.
create function batchgen_api.act_on_schedule(
  p_action text, p_schedule_id uuid, p_arguments jsonb default null
) returns jsonb
language plpgsql set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.act_on_any_schedule(text, uuid, jsonb)', 'execute') then
    return batchgen_api.act_on_any_schedule(p_action, p_schedule_id, p_arguments);
  end if;
  return batchgen_api.act_on_own_schedule(p_action, p_schedule_id, p_arguments);
end
$$;
revoke execute on function batchgen_api.act_on_schedule(text, uuid, jsonb)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.act_on_schedule(text, uuid, jsonb) to authenticated, service_role;
comment on function batchgen_api.act_on_schedule(text, uuid, jsonb) is
  'Behind the actions on schedules: with the caller''s rights.';

-- edit_schedule(p_schedule_id, p_changes)
-- Change some fields of a schedule, named as in create_schedule. New times count from now on.
-- Caller: authenticated, for a schedule of their own; service_role, for any. So are the four below.
-- Errors: PT401, PT404, PT422.
create function public.edit_schedule(p_schedule_id uuid, p_changes jsonb) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('edit', p_schedule_id, p_changes)
$$;
revoke execute on function public.edit_schedule(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.edit_schedule(uuid, jsonb) to authenticated, service_role;
comment on function public.edit_schedule(uuid, jsonb) is 'Changes some fields of a schedule.';

-- pause_schedule(p_schedule_id)
-- Run nothing until resume_schedule. Slots that pass meanwhile do not run.
-- Caller: as for edit_schedule. Errors: PT401, PT404.
create function public.pause_schedule(p_schedule_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('pause', p_schedule_id)
$$;
revoke execute on function public.pause_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.pause_schedule(uuid) to authenticated, service_role;
comment on function public.pause_schedule(uuid) is 'Pauses a schedule.';

-- resume_schedule(p_schedule_id)
-- Go on with the next slot.
-- Caller: as for edit_schedule. Errors: PT401, PT404.
create function public.resume_schedule(p_schedule_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('resume', p_schedule_id)
$$;
revoke execute on function public.resume_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.resume_schedule(uuid) to authenticated, service_role;
comment on function public.resume_schedule(uuid) is 'Resumes a paused schedule.';

-- delete_schedule(p_schedule_id)
-- Delete a schedule and the record of its runs; its batches stay. Returns {deleted: id}.
-- Caller: as for edit_schedule. Errors: PT401; PT404, also if it was deleted before.
create function public.delete_schedule(p_schedule_id uuid) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act_on_schedule('delete', p_schedule_id)
$$;
revoke execute on function public.delete_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_schedule(uuid) to authenticated, service_role;
comment on function public.delete_schedule(uuid) is 'Deletes a schedule; its batches stay.';


-- create_schedule_for(p_user_id, p_schedule)
-- Create a schedule. A repeated client_key with the same body returns the same schedule.
-- Caller: create_schedule, create_schedule_as.
-- Locks: the user's row in auth.users, then their row in user_rate_limits, so that two calls at once cannot both create
-- the last one allowed.
-- Errors: PT422; PT429 too_many_schedules, unless the caller is an operator; PT409 client_key_reused; PT401 if the user
-- is deleted.
create function batchgen.create_schedule_for(p_user_id uuid, p_schedule jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_schedule batchgen.batch_schedules;
  v_known batchgen.batch_schedules;
  v_most integer := (select s.max_schedules_per_user from batchgen.settings s);
begin
  perform batchgen.lock_limits(p_user_id);
  if jsonb_typeof(p_schedule) = 'object' then
    v_schedule.client_key := batchgen.read_client_key(p_schedule);
    v_schedule.body_hash := batchgen.request_hash(p_schedule - 'client_key');
    select s.* into v_known from batchgen.batch_schedules s
    where s.user_id = p_user_id and s.client_key = v_schedule.client_key;
    if found and v_known.body_hash = v_schedule.body_hash then
      return jsonb_build_object('schedule', batchgen.schedule_answer(v_known));
    elsif found then
      perform batchgen.refuse('client_key_reused', 'client_key was used before for another schedule.', 'client_key',
        'Use a new client_key for a new schedule.', null, null, 'PT409');
    end if;
  end if;
  v_schedule.user_id := p_user_id;
  v_schedule.time_zone := 'UTC';
  v_schedule.missed_runs := 'one';
  v_schedule := batchgen.read_schedule(v_schedule, p_schedule);
  if not batchgen.is_operator()
    and (select count(*) from batchgen.batch_schedules s where s.user_id = p_user_id) >= v_most
  then
    perform batchgen.refuse('too_many_schedules', format('You have %s schedules, as many as are allowed.', v_most),
      'max_schedules_per_user', 'Delete one that you do not need.', null, to_jsonb(v_most), 'PT429');
  end if;
  insert into batchgen.batch_schedules (
    user_id, name, request, run_at, cron, time_zone, missed_runs, paused_at, client_key, body_hash
  ) values (
    v_schedule.user_id, v_schedule.name, v_schedule.request, v_schedule.run_at, v_schedule.cron, v_schedule.time_zone,
    v_schedule.missed_runs, v_schedule.paused_at, v_schedule.client_key,
    case when v_schedule.client_key is not null then v_schedule.body_hash end
  ) returning * into v_schedule;
  return jsonb_build_object('schedule', batchgen.schedule_answer(v_schedule));
end
$$;
revoke execute on function batchgen.create_schedule_for(uuid, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.create_schedule_for(uuid, jsonb) is 'Creates a schedule of a user.';

create function batchgen_api.create_schedule(p_schedule jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return batchgen.create_schedule_for(auth.uid(), p_schedule);
end
$$;
revoke execute on function batchgen_api.create_schedule(jsonb) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.create_schedule(jsonb) to authenticated;
comment on function batchgen_api.create_schedule(jsonb) is 'Behind public.create_schedule: for the signed-in user.';

-- create_schedule(p_schedule)
-- Create a schedule: {request, cron or run_at, time_zone?, name?, missed_runs?, paused?, client_key?} -> {schedule: …}.
-- batchgen.schedule_answer describes the answer.
-- Caller: authenticated, for themselves.
-- Errors: PT401; PT422; PT429 too_many_schedules; PT409 client_key_reused.
create function public.create_schedule(p_schedule jsonb) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.create_schedule(p_schedule)
$$;
revoke execute on function public.create_schedule(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_schedule(jsonb) to authenticated;
comment on function public.create_schedule(jsonb) is 'Creates a schedule of the signed-in user.';

-- create_schedule_as(p_user_id, p_schedule)
-- create_schedule for an operator who acts for a user.
-- Caller: service_role.
create function public.create_schedule_as(p_user_id uuid, p_schedule jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('unknown_user', 'p_user_id is not a user of this project.', 'p_user_id',
      'Use the id of a row in auth.users.');
  end if;
  return batchgen.create_schedule_for(p_user_id, p_schedule);
end
$$;
revoke execute on function public.create_schedule_as(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_schedule_as(uuid, jsonb) to service_role;
comment on function public.create_schedule_as(uuid, jsonb) is 'For operators: creates a schedule of a user.';

create function batchgen_api.schedules_of_any_user(p_user_id uuid, p_before timestamptz, p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(batchgen.schedule_answer(s) order by s.created_at desc, s.id desc), '[]')
  from (
    select f.* from batchgen.batch_schedules f
    where (p_user_id is null or f.user_id = p_user_id) and (p_before is null or f.created_at < p_before)
    order by f.created_at desc, f.id desc limit least(greatest(coalesce(p_limit, 100), 0), 1000)
  ) s
$$;
revoke execute on function batchgen_api.schedules_of_any_user(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.schedules_of_any_user(uuid, timestamptz, integer) to service_role;
comment on function batchgen_api.schedules_of_any_user(uuid, timestamptz, integer) is
  'Behind public.get_schedules: for operators.';

create function batchgen_api.own_schedules(p_user_id uuid, p_before timestamptz, p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id <> auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id, or leave it out.', null, null, 'PT404');
  end if;
  return batchgen_api.schedules_of_any_user(auth.uid(), p_before, p_limit);
end
$$;
revoke execute on function batchgen_api.own_schedules(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.own_schedules(uuid, timestamptz, integer) to authenticated;
comment on function batchgen_api.own_schedules(uuid, timestamptz, integer) is
  'Behind public.get_schedules: for the signed-in user.';

-- get_schedules(p_user_id, p_before, p_limit)
-- Schedules, newest first, as a JSON list of what batchgen.schedule_answer describes: at most p_limit (1,000), created
-- before p_before if that is given.
-- Caller: authenticated, for themselves; service_role, for one user or all.
-- Errors: PT401; PT404 for another user.
create function public.get_schedules(
  p_user_id uuid default null, p_before timestamptz default null, p_limit integer default 100
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.schedules_of_any_user(uuid, timestamptz, integer)', 'execute') then
    return batchgen_api.schedules_of_any_user(p_user_id, p_before, p_limit);
  end if;
  return batchgen_api.own_schedules(p_user_id, p_before, p_limit);
end
$$;
revoke execute on function public.get_schedules(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_schedules(uuid, timestamptz, integer) to authenticated, service_role;
comment on function public.get_schedules(uuid, timestamptz, integer) is 'Schedules with their next five runs.';

create function batchgen_api.runs_of_any_schedule(
  p_schedule_id uuid, p_before timestamptz, p_limit integer
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_schedule batchgen.batch_schedules;
begin
  select s.* into v_schedule from batchgen.batch_schedules s where s.id = p_schedule_id;
  if not found then
    perform batchgen.refuse_schedule();
  end if;
  return jsonb_build_object('schedule', batchgen.schedule_answer(v_schedule), 'runs', coalesce((
    select jsonb_agg(batchgen.schedule_run_answer(r) order by r.slot desc)
    from (
      select f.* from batchgen.schedule_runs f
      where f.schedule_id = p_schedule_id and (p_before is null or f.slot < p_before)
      order by f.slot desc limit least(greatest(coalesce(p_limit, 50), 0), 1000)
    ) r
  ), '[]'));
end
$$;
revoke execute on function batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer) to service_role;
comment on function batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer) is
  'Behind public.get_schedule_runs: for operators.';

create function batchgen_api.runs_of_own_schedule(
  p_schedule_id uuid, p_before timestamptz, p_limit integer
) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_own_schedule(p_schedule_id);
  return batchgen_api.runs_of_any_schedule(p_schedule_id, p_before, p_limit);
end
$$;
revoke execute on function batchgen_api.runs_of_own_schedule(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.runs_of_own_schedule(uuid, timestamptz, integer) to authenticated;
comment on function batchgen_api.runs_of_own_schedule(uuid, timestamptz, integer) is
  'Behind public.get_schedule_runs: for the owner.';

-- get_schedule_runs(p_schedule_id, p_before, p_limit)
-- {schedule, runs: [{schedule_id, slot, outcome, fired_at, attempts, batch_id, refusal, retry_at}]}: decided slots, the
-- newest first, before p_before if that is given; at most p_limit (1,000). outcome: submitted, refused or missed.
-- Caller: authenticated, for a schedule of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.get_schedule_runs(
  p_schedule_id uuid, p_before timestamptz default null, p_limit integer default 50
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.runs_of_any_schedule(uuid, timestamptz, integer)', 'execute') then
    return batchgen_api.runs_of_any_schedule(p_schedule_id, p_before, p_limit);
  end if;
  return batchgen_api.runs_of_own_schedule(p_schedule_id, p_before, p_limit);
end
$$;
revoke execute on function public.get_schedule_runs(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
grant execute on function public.get_schedule_runs(uuid, timestamptz, integer) to authenticated, service_role;
comment on function public.get_schedule_runs(uuid, timestamptz, integer) is
  'A schedule with its decided slots, and the batches that they made.';

-- preview_schedule(p_schedule_id)
-- {schedule, next_runs}: the times of the next five runs, or fewer if there are no more. A worker computes those of a
-- new schedule within seconds; of a paused one as well.
-- Caller: authenticated, for a schedule of their own; service_role, for any.
-- Errors: PT401, PT404.
create function public.preview_schedule(p_schedule_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('schedule', s.answer, 'next_runs', s.answer -> 'next_runs')
  from (select public.get_schedule_runs(p_schedule_id, null, 0) -> 'schedule' as answer) s
$$;
revoke execute on function public.preview_schedule(uuid) from public, anon, authenticated, service_role;
grant execute on function public.preview_schedule(uuid) to authenticated, service_role;
comment on function public.preview_schedule(uuid) is 'The times of the next five runs of a schedule.';

-- schedules_to_plan(p_now)
-- Schedules with fewer than five slots ahead, at most 50, as run_schedules returns them. Slots are planned from after
-- on: ones that are too old to run are left out.
create function batchgen.schedules_to_plan(p_now timestamptz) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'schedule_id', p.id, 'version', p.version, 'planned_until', p.planned_until,
    'after', greatest(p.planned_until, p_now - make_interval(days => s.missed_run_days)), 'now', p_now,
    'cron', p.cron, 'time_zone', p.time_zone
  ) order by p.plan_at, p.id), '[]')
  from batchgen.settings s cross join (
    select b.* from batchgen.batch_schedules b where b.plan_at <= p_now and b.cron is not null
    order by b.plan_at, b.id limit 50
  ) p
$$;
revoke execute on function batchgen.schedules_to_plan(timestamptz) from public, anon, authenticated, service_role;
comment on function batchgen.schedules_to_plan(timestamptz) is 'Schedules with fewer than five slots ahead.';

-- plan_schedules(p_plans)
-- Add computed times to schedules: [{schedule_id, version, planned_until, slots, is_last, problem}], the first three as
-- run_schedules gave them. slots: ascending, after planned_until, at most 1,000. is_last: there are no more. problem:
-- {code, message, remedy} if the times cannot be computed; the schedule then stops until its times are edited. A plan
-- for a schedule that was planned or edited meanwhile is dropped. Returns how many were taken.
-- Caller: service_role.
-- Errors: PT422 for slots that are not as described.
create function public.plan_schedules(p_plans jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_plan record;
  v_taken integer := 0;
begin
  for v_plan in
    select p.* from jsonb_to_recordset(p_plans) p (
      schedule_id uuid, version integer, planned_until timestamptz, slots timestamptz[], is_last boolean, problem jsonb
    ) order by p.schedule_id
  loop
    v_plan.slots := coalesce(v_plan.slots, '{}');
    if cardinality(v_plan.slots) > 1000 or v_plan.slots is distinct from array(
      select distinct s from unnest(v_plan.slots) s where s > v_plan.planned_until and isfinite(s) order by s
    ) then
      perform batchgen.refuse_argument('p_plans', 'has slots that are not ascending, or not after planned_until.',
        'Send up to 1,000 times after planned_until, in order.');
    end if;
    update batchgen.batch_schedules b
    set slots = array(
        select s from unnest(b.slots || v_plan.slots) s
        where b.paused_at is null or s > clock_timestamp() order by s
      ),
      planned_until = case
        when v_plan.is_last then 'infinity' else coalesce(v_plan.slots[cardinality(v_plan.slots)], b.planned_until)
      end,
      problem = v_plan.problem
    where b.id = v_plan.schedule_id and b.version = v_plan.version and b.planned_until = v_plan.planned_until;
    v_taken := v_taken + found::integer;
  end loop;
  return v_taken;
end
$$;
revoke execute on function public.plan_schedules(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.plan_schedules(jsonb) to service_role;
comment on function public.plan_schedules(jsonb) is 'For workers: adds the times that they computed to schedules.';

-- Due slots run here, each in the transaction that records it: a slot and its batch are both committed or neither is.
-- The functions take the time as p_now; public.run_schedules passes the database's clock.

-- submit_scheduled(p_schedule)
-- Create a batch of the schedule's request for its user, with the user's limits even if a worker calls. Returns the
-- batch's id.
-- Errors: those of create_batch_for; PT401 user_disabled for a user that Auth lets not sign in.
create function batchgen.submit_scheduled(p_schedule batchgen.batch_schedules) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_answer jsonb;
  v_user jsonb := (select to_jsonb(u) from auth.users u where u.id = p_schedule.user_id);
begin
  if v_user ->> 'deleted_at' is not null or (v_user ->> 'banned_until')::timestamptz > clock_timestamp() then
    perform batchgen.refuse('user_disabled', 'The user is deleted or banned.', null, 'Restore the user.', null, null,
      'PT401');
  end if;
  perform set_config('batchgen.acts_as_user', 'on', true);
  v_answer := batchgen.create_batch_for(p_schedule.user_id, p_schedule.request);
  perform set_config('batchgen.acts_as_user', '', true);
  return (v_answer -> 'batch' ->> 'id')::uuid;
end
$$;
revoke execute on function batchgen.submit_scheduled(batchgen.batch_schedules)
from public, anon, authenticated, service_role;
comment on function batchgen.submit_scheduled(batchgen.batch_schedules) is
  'Creates a batch of a schedule, within the limits of its user.';

-- scheduled_retry_at(p_schedule, p_slot, p_refusal, p_attempts, p_now)
-- When a refused slot is tried again; null if never: the rule is skip, or the slot is too old. After 1, 2, 4, …
-- minutes, at most an hour, or when the limit in the way resets if that is within an hour.
create function batchgen.scheduled_retry_at(
  p_schedule batchgen.batch_schedules, p_slot timestamptz, p_refusal jsonb, p_attempts integer, p_now timestamptz
) returns timestamptz
language sql stable set search_path = '' as $$
  select case
    when p_schedule.missed_runs = 'skip' or p_slot < p_now - make_interval(days => s.missed_run_days) then null
    when (p_refusal ->> 'retry_after_seconds')::double precision between 0 and 3600
      then p_now + make_interval(secs => (p_refusal ->> 'retry_after_seconds')::double precision)
    else p_now + least(interval '1 minute' * 2 ^ least(p_attempts - 1, 10), interval '1 hour')
  end
  from batchgen.settings s
$$;
revoke execute on function batchgen.scheduled_retry_at(
  batchgen.batch_schedules, timestamptz, jsonb, integer, timestamptz
) from public, anon, authenticated, service_role;
comment on function batchgen.scheduled_retry_at(batchgen.batch_schedules, timestamptz, jsonb, integer, timestamptz) is
  'When a refused slot of a schedule is tried again; null if never.';

-- run_slot(p_schedule, p_slot, p_now)
-- Try one slot: create its batch and record it, or record the refusal. A slot that has a batch stays as it is.
-- Caller: run_due_slots, which has locked the schedule.
-- Errors: only collisions of transactions; the caller's transaction is repeated then. Anything else that goes wrong is
-- recorded as a refusal, so that it holds up no other schedule.
create function batchgen.run_slot(
  p_schedule batchgen.batch_schedules, p_slot timestamptz, p_now timestamptz
) returns batchgen.schedule_runs
language plpgsql security definer set search_path = '' as $$
declare
  v_run batchgen.schedule_runs;
  v_attempts integer;
  v_detail text;
begin
  select r.* into v_run from batchgen.schedule_runs r where r.schedule_id = p_schedule.id and r.slot = p_slot;
  if v_run.outcome = 'submitted' then
    return v_run;
  end if;
  v_attempts := coalesce(v_run.attempts, 0) + 1;
  v_run := row(p_schedule.id, p_slot, 'submitted', p_now, v_attempts, null, null, null);
  begin
    v_run.batch_id := batchgen.submit_scheduled(p_schedule);
  exception
    when serialization_failure or deadlock_detected or lock_not_available then
      raise;
    when others then
      get stacked diagnostics v_detail = pg_exception_detail;
      v_run.outcome := 'refused';
      v_run.refusal := case
        when sqlstate like 'PT%' and v_detail ~ '^\{' then v_detail::jsonb
        else jsonb_build_object('code', 'internal_error', 'message', left(sqlerrm, 500), 'remedy',
          'Tell an admin of the project.')
      end;
      v_run.retry_at := batchgen.scheduled_retry_at(p_schedule, p_slot, v_run.refusal, v_attempts, p_now);
  end;
  insert into batchgen.schedule_runs select v_run.*
  on conflict (schedule_id, slot) do update set outcome = excluded.outcome, fired_at = excluded.fired_at,
    attempts = excluded.attempts, batch_id = excluded.batch_id, refusal = excluded.refusal,
    retry_at = excluded.retry_at;
  return v_run;
end
$$;
revoke execute on function batchgen.run_slot(batchgen.batch_schedules, timestamptz, timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.run_slot(batchgen.batch_schedules, timestamptz, timestamptz) is
  'Tries one slot of a schedule and records its batch or the refusal.';

-- slots_to_run(p_schedule, p_due, p_now)
-- Those of the due slots that run by the schedule's rule, oldest first. skip: the last one if it is not late; one: the
-- last one; all: the last settings.max_missed_runs. None is older than settings.missed_run_days.
create function batchgen.slots_to_run(
  p_schedule batchgen.batch_schedules, p_due timestamptz[], p_now timestamptz
) returns timestamptz[]
language sql stable security definer set search_path = '' as $$
  select coalesce(array_agg(l.slot order by l.slot), '{}')
  from batchgen.settings s
  cross join lateral (
    select d.slot from unnest(p_due) d (slot) order by d.slot desc
    limit case when p_schedule.missed_runs = 'all' then s.max_missed_runs else 1 end
  ) l
  where l.slot >= p_now - case
    when p_schedule.missed_runs = 'skip' then make_interval(secs => s.schedule_grace_seconds)
    else make_interval(days => s.missed_run_days)
  end
$$;
revoke execute on function batchgen.slots_to_run(batchgen.batch_schedules, timestamptz[], timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.slots_to_run(batchgen.batch_schedules, timestamptz[], timestamptz) is
  'The due slots that run by the schedule''s rule.';

-- run_due_slots(p_schedule, p_now)
-- Decide the due slots of a schedule: run those that its rule lets run, at most ten in one transaction, and record the
-- others as missed. A refused slot that is tried again keeps its place before later ones. Keeps the last 1,000 runs.
-- Returns the runs that were tried.
-- Caller: run_next_schedule, which has locked the schedule.
create function batchgen.run_due_slots(p_schedule batchgen.batch_schedules, p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_due timestamptz[] := array(select s from unnest(p_schedule.slots) s where s <= p_now order by s);
  v_chosen timestamptz[] := batchgen.slots_to_run(p_schedule, v_due, p_now);
  v_left timestamptz[] := v_chosen;
  v_run batchgen.schedule_runs;
  v_tried jsonb := '[]';
begin
  insert into batchgen.schedule_runs (schedule_id, slot, outcome, fired_at, attempts)
  select p_schedule.id, d.slot, 'missed', p_now, 0 from unnest(v_due) d (slot) where d.slot <> all (v_chosen)
  on conflict (schedule_id, slot) do update set retry_at = null;
  while cardinality(v_left) > 0 and jsonb_array_length(v_tried) < 10 loop
    v_run := batchgen.run_slot(p_schedule, v_left[1], p_now);
    v_tried := v_tried || batchgen.schedule_run_answer(v_run);
    exit when v_run.retry_at is not null;
    v_left := v_left[2:];
  end loop;
  update batchgen.batch_schedules s
  set slots = v_left || array(select o from unnest(s.slots) o where o > p_now order by o), retry_at = v_run.retry_at
  where s.id = p_schedule.id;
  delete from batchgen.schedule_runs r
  where r.schedule_id = p_schedule.id and r.slot < (
    select o.slot from batchgen.schedule_runs o where o.schedule_id = p_schedule.id
    order by o.slot desc offset 999 limit 1
  );
  return v_tried;
end
$$;
revoke execute on function batchgen.run_due_slots(batchgen.batch_schedules, timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.run_due_slots(batchgen.batch_schedules, timestamptz) is
  'Decides the due slots of a schedule and returns the runs that were tried.';

-- run_next_schedule(p_now)
-- Decide the due slots of one schedule that nobody else is deciding; null if there is none. A schedule whose times are
-- not planned up to now waits for its plan, since its rule needs to know the last slot.
-- Locks: the schedule's user, then the schedule, in the order in which a user is deleted; then those of
-- create_batch_for. Locked ones are left to the session that has them.
create function batchgen.run_next_schedule(p_now timestamptz) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_candidate record;
  v_schedule batchgen.batch_schedules;
begin
  for v_candidate in
    select s.id, s.user_id from batchgen.batch_schedules s
    where s.due_at <= p_now and s.planned_until > p_now order by s.due_at, s.id limit 100
  loop
    perform 1 from auth.users u where u.id = v_candidate.user_id for key share skip locked;
    continue when not found;
    select s.* into v_schedule from batchgen.batch_schedules s
    where s.id = v_candidate.id and s.due_at <= p_now and s.planned_until > p_now for update skip locked;
    if found then
      return jsonb_build_object(
        'schedule_id', v_schedule.id, 'runs', batchgen.run_due_slots(v_schedule, p_now)
      );
    end if;
  end loop;
  return null;
end
$$;
revoke execute on function batchgen.run_next_schedule(timestamptz) from public, anon, authenticated, service_role;
comment on function batchgen.run_next_schedule(timestamptz) is
  'Decides the due slots of one schedule; null if none is due.';

-- run_schedules()
-- {fired, to_plan}. fired: {schedule_id, runs} of one schedule whose due slots were decided, else null; call again
-- until it is null. to_plan: up to 50 schedules whose next times are to be computed and handed to plan_schedules:
-- {schedule_id, version, planned_until, after, now, cron, time_zone}.
-- Caller: service_role.
create function public.run_schedules() returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object(
    'fired', batchgen.run_next_schedule(c.now),
    'to_plan', batchgen.schedules_to_plan(c.now)
  )
  from (select clock_timestamp() as now) c
$$;
revoke execute on function public.run_schedules() from public, anon, authenticated, service_role;
grant execute on function public.run_schedules() to service_role;
comment on function public.run_schedules() is
  'For workers: runs the due slots of one schedule, and lists schedules whose times are to be computed.';
