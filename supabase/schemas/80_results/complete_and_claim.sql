-- complete_and_claim(p_results, p_worker, p_limit, p_lease_seconds)
-- Run complete_generations, then claim_generations, in one transaction: the claim sees the slots that the results
-- freed, and refilling a slot needs no request of its own. Returns {lease_ids: the leases of completed items, claims:
-- as from claim_generations, claim_error: {code, message} or null}. If the claim fails, the results stay completed and
-- claim_error says why; without results, the claim's error is raised.
-- Caller: service_role.
-- States: processing -> completed; pending -> processing.
-- Locks: the items and batches of the results, then as the claim, which never waits.
-- Errors: as the two functions.
create function public.complete_and_claim(
  p_results jsonb, p_worker text, p_limit integer, p_lease_seconds integer
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_lease_ids jsonb;
  v_claims jsonb := '[]';
  v_error jsonb;
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  select coalesce(jsonb_agg(c.lease_id), '[]') into v_lease_ids from public.complete_generations(p_results) c;
  begin
    if p_limit is distinct from 0 then
      select coalesce(jsonb_agg(to_jsonb(c)), '[]') into v_claims
      from public.claim_generations(p_worker, p_limit, p_lease_seconds) c;
    end if;
  exception when query_canceled or others then
    if p_results = '[]' then
      raise;
    end if;
    v_claims := '[]';
    v_error := jsonb_build_object('code', sqlstate, 'message', sqlerrm);
  end;
  return jsonb_build_object('lease_ids', v_lease_ids, 'claims', v_claims, 'claim_error', v_error);
end
$$;
revoke execute on function public.complete_and_claim(jsonb, text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.complete_and_claim(jsonb, text, integer, integer) to service_role;
comment on function public.complete_and_claim(jsonb, text, integer, integer) is
  'For workers: records finished pictures and leases the next items, in one call and one JSON value.';
