-- credit_history_of_any_user(p_user_id, p_before, p_limit)
-- The answer of credit_history, for callers that may ask about any user.
-- Errors: PT404, PT422.
create function batchgen_api.credit_history_of_any_user(p_user_id uuid, p_before bigint, p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_entries jsonb;
begin
  perform batchgen.check_user(p_user_id);
  if p_limit is null or p_limit not between 1 and 200 then
    perform batchgen.refuse('out_of_range', 'p_limit is not between 1 and 200.', 'p_limit',
      'Ask for 1 to 200 entries.', null, to_jsonb(200));
  end if;
  select jsonb_agg(
    jsonb_strip_nulls(
      jsonb_build_object(
        'id', l.id, 'entry', l.entry, 'credits', trim_scale(l.amount), 'noted_at', l.noted_at,
        'generation_id', l.generation_id, 'batch_id', l.batch_id, 'model_id', l.model_id, 'note', l.note
      )
    ) order by l.id desc
  ) into v_entries
  from (
    select k.* from batchgen.credit_ledger k
    where k.user_id = p_user_id and k.id < coalesce(p_before, 9223372036854775807) order by k.id desc limit p_limit
  ) l;
  return jsonb_build_object(
    'entries', coalesce(v_entries, '[]'),
    'next', case when jsonb_array_length(v_entries) = p_limit then v_entries -> -1 -> 'id' end
  );
end
$$;
revoke execute on function batchgen_api.credit_history_of_any_user(uuid, bigint, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.credit_history_of_any_user(uuid, bigint, integer) to service_role;
comment on function batchgen_api.credit_history_of_any_user(uuid, bigint, integer) is
  'Behind public.credit_history: for operators.';

create function batchgen_api.credit_history(p_user_id uuid, p_before bigint, p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_own_user(p_user_id);
  return batchgen_api.credit_history_of_any_user(auth.uid(), p_before, p_limit);
end
$$;
revoke execute on function batchgen_api.credit_history(uuid, bigint, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.credit_history(uuid, bigint, integer) to authenticated;
comment on function batchgen_api.credit_history(uuid, bigint, integer) is
  'Behind public.credit_history: for the signed-in user.';

-- credit_history(p_before, p_limit, p_user_id)
-- Entries of the credit ledger, newest first, of the signed-in user, or for operators of p_user_id: {entries: [{id,
-- entry, credits, noted_at, generation_id?, batch_id?, model_id?, note?}], next}. next: p_before of the next page, null
-- after the last one.
-- Caller: authenticated, for themselves; service_role, for any user.
-- Errors: PT401 if nobody is signed in; PT404 if there is no such user, or it is not the signed-in one; PT422.
create function public.credit_history(
  p_before bigint default null, p_limit integer default 50, p_user_id uuid default null
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.credit_history_of_any_user(uuid, bigint, integer)', 'execute') then
    return batchgen_api.credit_history_of_any_user(p_user_id, p_before, p_limit);
  end if;
  return batchgen_api.credit_history(p_user_id, p_before, p_limit);
end
$$;
revoke execute on function public.credit_history(bigint, integer, uuid) from public, anon, authenticated, service_role;
grant execute on function public.credit_history(bigint, integer, uuid) to authenticated, service_role;
comment on function public.credit_history(bigint, integer, uuid) is
  'Credit ledger of the signed-in user, newest entries first, in pages.';
