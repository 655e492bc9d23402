create function batchgen.check_text(p_text text, p_field text, p_most integer) returns void
language plpgsql set search_path = '' as $$
begin
  if length(p_text) > p_most then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field,
      length(p_text), p_most),
      p_field, format('Shorten it to %s characters.', p_most), null, to_jsonb(p_most));
  end if;
end
$$;
revoke execute on function batchgen.check_text(text, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.check_text(text, text, integer) is 'Refuses a text that is too long.';

create function batchgen.check_range(p_value double precision, p_field text, p_least double precision,
  p_most double precision)
returns void
language plpgsql set search_path = '' as $$
begin
  -- NaN is greater than every number.
  if not p_value between p_least and p_most then
    perform batchgen.refuse('out_of_range', format('%s is not between %s and %s.', p_field, p_least, p_most), p_field,
      'Send a number in that range, or leave it out.', null, to_jsonb(p_most));
  end if;
end
$$;
revoke execute on function batchgen.check_range(double precision, text, double precision, double precision)
from public, anon, authenticated, service_role;
comment on function batchgen.check_range(double precision, text, double precision, double precision) is
  'Refuses a number that is out of range.';

-- check_prompt(p_text, p_field)
-- Refuse a prompt over settings.max_prompt_characters. A prompt outside a batch has the same limit as one in a batch.
create function batchgen.check_prompt(p_text text, p_field text) returns void
language plpgsql set search_path = '' as $$
declare
  v_most integer := (select s.max_prompt_characters from batchgen.settings s);
begin
  if length(p_text) > v_most then
    perform batchgen.refuse('too_long', format('%s is %s characters long; at most %s are allowed.', p_field,
      length(p_text), v_most), p_field,
      format('Shorten it to %s characters.', v_most), null, to_jsonb(v_most));
  end if;
end
$$;
revoke execute on function batchgen.check_prompt(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.check_prompt(text, text) is 'Refuses a prompt longer than settings.max_prompt_characters.';
