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
