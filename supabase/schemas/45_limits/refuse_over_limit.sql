-- refuse_over_limit(p_user_id, p_items)
-- Refuse p_items more items if they exceed a limit.
-- Errors: PT429 for the first limit that they would exceed.
create function batchgen.refuse_over_limit(p_user_id uuid, p_items integer) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_limit record;
  v_sentence text;
  v_remedy text;
begin
  select l.* into v_limit from batchgen.limit_in_the_way(p_user_id, p_items) l;
  if not found then
    return;
  end if;
  v_sentence := batchgen.limit_sentence(v_limit.code, v_limit.used, v_limit.allowed, v_limit.resets_at, p_items);
  v_remedy := batchgen.limit_remedy(v_limit.code, v_limit.used, v_limit.allowed);
  raise exception using errcode = 'PT429', message = v_sentence, hint = v_remedy,
    detail = jsonb_build_object(
      'code', v_limit.code, 'message', v_sentence, 'index', null, 'field', v_limit.name, 'limit', v_limit.allowed,
      'remedy', v_remedy,
      'resets_at', v_limit.resets_at,
      'retry_after_seconds',
      case when isfinite(v_limit.resets_at) then ceil(extract(epoch from v_limit.resets_at - now())) end
    )::text;
end
$$;
revoke execute on function batchgen.refuse_over_limit(uuid, integer) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_over_limit(uuid, integer) is 'Raises PT429 if further items would exceed a limit.';
