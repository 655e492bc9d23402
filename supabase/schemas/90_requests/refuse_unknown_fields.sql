-- changes_between(p_one, p_other)
-- Levenshtein distance of two short words: letters to add, remove or replace.
create function batchgen.changes_between(p_one text, p_other text) returns integer
language plpgsql immutable set search_path = '' as $$
declare
  v_before integer[];
  v_row integer[] := array(select generate_series(0, length(p_other)));
begin
  for i in 1 .. length(p_one) loop
    v_before := v_row;
    v_row[1] := i;
    for j in 1 .. length(p_other) loop
      v_row[j + 1] := least(
        v_row[j] + 1, v_before[j + 1] + 1, v_before[j] + (substr(p_one, i, 1) <> substr(p_other, j, 1))::integer
      );
    end loop;
  end loop;
  return v_row[length(p_other) + 1];
end
$$;
revoke execute on function batchgen.changes_between(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.changes_between(text, text) is 'Levenshtein distance of two short words.';

-- refuse_unknown_fields(p_object, p_path, p_known, p_index)
-- Refuse a field that would be ignored; the remedy suggests the most similar known field.
create function batchgen.refuse_unknown_fields(
  p_object jsonb, p_path text, p_known text[], p_index integer default null
) returns void
language plpgsql set search_path = '' as $$
declare
  v_name text;
  v_nearest text;
  v_field text;
begin
  select k into v_name from jsonb_object_keys(p_object) k where k <> all (p_known) limit 1;
  if not found then
    return;
  end if;
  select k into v_nearest
  from unnest(p_known) k
  cross join lateral (select batchgen.changes_between(lower(left(v_name, 40)), k) as changes) c
  where c.changes <= case when length(v_name) < 6 then 2 else 3 end
    or (length(v_name) > 2 and starts_with(k, lower(left(v_name, 40)))) or starts_with(lower(left(v_name, 40)), k)
  order by c.changes, k limit 1;
  v_field := p_path || left(v_name, 100);
  perform batchgen.refuse(
    'unknown_field', format('%s is not a field of a request.', v_field), v_field,
    case
      when v_nearest is not null then format('Did you mean %s? Otherwise leave it out.', v_nearest)
      else format('Leave it out. The fields here are %s.', array_to_string(p_known, ', '))
    end,
    p_index, to_jsonb(p_known)
  );
end
$$;
revoke execute on function batchgen.refuse_unknown_fields(jsonb, text, text[], integer)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_unknown_fields(jsonb, text, text[], integer) is
  'Refuses a field that would be ignored.';
