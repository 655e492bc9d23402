-- Errors that refuse a user's request.
--
-- SQLSTATE PT422 (HTTP 422): the request breaks a rule and nothing was written. The error's detail is JSON:
--   {code, message, index, field, limit, remedy}: a stable code, the position of the prompt from 0, the path of the
--   field, the limit, and the remedy.
-- SQLSTATE PT401 (HTTP 401): not signed in. PT403: the row is another user's, or may not be written. PT404: not found,
-- or not visible to the caller. PT409: another request came first. PT429: a limit is reached.

-- refuse(p_code, p_message, p_field, p_remedy, p_index, p_limit, p_errcode)
-- Raise the error that refuses a request. Every refusal of a user's request goes through it.
create function batchgen.refuse(
  p_code text, p_message text, p_field text, p_remedy text, p_index integer default null, p_limit jsonb default null,
  p_errcode text default 'PT422'
) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = p_errcode, message = p_message, hint = p_remedy,
    detail = jsonb_build_object(
      'code', p_code, 'message', p_message, 'index', p_index, 'field', p_field, 'limit', p_limit, 'remedy', p_remedy
    )::text;
end
$$;
revoke execute on function batchgen.refuse(text, text, text, text, integer, jsonb, text)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse(text, text, text, text, integer, jsonb, text) is
  'Refuses a request: raises an error with a JSON detail.';

-- refuse_rows(p_code, p_table, p_what, p_most, p_remedy)
-- Refuse too many rows, of one statement or of one user.
create function batchgen.refuse_rows(p_code text, p_table text, p_what text, p_most integer, p_remedy text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse(p_code, format('%s: at most %s %s.', p_table, p_most, p_what), p_table, p_remedy, null,
    to_jsonb(p_most), 'PT429');
end
$$;
revoke execute on function batchgen.refuse_rows(text, text, text, integer, text)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_rows(text, text, text, integer, text) is
  'Refuses too many rows, of one statement or one user.';

create function batchgen.refuse_batch() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('batch_not_found', 'Batch not found, or it belongs to another user.', 'p_batch_id',
    'Use the id of one of your batches.', null, null, 'PT404');
end
$$;
revoke execute on function batchgen.refuse_batch() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_batch() is 'Raises PT404: batch not found, or it belongs to another user.';
