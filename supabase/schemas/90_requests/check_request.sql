-- check_request(p_request, p_settings)
-- Refuse a request that is not an object, or larger than any valid one: room for every field at its maximum length, and
-- for fields that are ignored.
-- Caller: repeated_batch. Errors: PT422.
create function batchgen.check_request(p_request jsonb, p_settings batchgen.settings) returns void
language plpgsql set search_path = '' as $$
declare
  v_most integer := 65536 + p_settings.max_batch_size * (8 * p_settings.max_prompt_characters + 8192);
begin
  if pg_column_size(p_request) > v_most then
    perform batchgen.refuse('too_large', format('The request is larger than %s bytes.', v_most), 'request',
      'Send only the documented fields.', null, to_jsonb(v_most));
  end if;
  if jsonb_typeof(p_request) is distinct from 'object' then
    perform batchgen.refuse('wrong_type', 'The request is not an object.', 'request',
      'Send {prompts, shared_settings, batch_name}.');
  end if;
end
$$;
revoke execute on function batchgen.check_request(jsonb, batchgen.settings)
from public, anon, authenticated, service_role;
comment on function batchgen.check_request(jsonb, batchgen.settings) is
  'Refuses a request that is not an object, or larger than any valid one.';
