-- complete_generation(p_generation_id, p_lease_id, p_result)
-- Ends a leased item as completed, all or nothing: the item, its images row, its tags and its batch's totals.
-- p_result's keys are columns of images; storage_path is required and must lie in the owner's folder. Returns
-- {image_id}.
-- Caller: service_role.
-- States: processing -> completed.
-- Locks: as batchgen.complete_items.
-- Errors: PT409 where the lease is not held; PT422 where the result does not fit.
create function public.complete_generation(p_generation_id uuid, p_lease_id uuid, p_result jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_image_id uuid;
begin
  select c.image_id into v_image_id
  from batchgen.complete_items(
    jsonb_build_array(jsonb_build_object('generation_id', p_generation_id, 'lease_id', p_lease_id, 'result', p_result))
  ) c;
  if v_image_id is null then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  return jsonb_build_object('image_id', v_image_id);
end
$$;
revoke execute on function public.complete_generation(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.complete_generation(uuid, uuid, jsonb) to service_role;
comment on function public.complete_generation(uuid, uuid, jsonb) is
  'For workers: ends a leased item as completed and records its picture.';

-- complete_generations(p_results)
-- As complete_generation, for up to 1,000 items in one transaction. p_results is a list of {generation_id, lease_id,
-- result}. Returns a row for each item that was completed; one that is missing has lost its lease: drop its result.
-- Caller: service_role.
-- States: processing -> completed.
-- Locks: as batchgen.complete_items.
-- Errors: PT422, and nothing is written, where a result does not fit: send them one by one then. PT409 busy where
-- somebody else holds one of them.
create function public.complete_generations(
  p_results jsonb
) returns table (generation_id uuid, lease_id uuid, image_id uuid)
language plpgsql security definer set search_path = '' as $$
begin
  if jsonb_typeof(p_results) is distinct from 'array' or jsonb_array_length(p_results) > 1000 then
    perform batchgen.refuse_argument('p_results', 'is not a list of at most 1000 results',
      'Send a list of {generation_id, lease_id, result}.');
  end if;
  return query select c.* from batchgen.complete_items(p_results) c;
end
$$;
revoke execute on function public.complete_generations(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.complete_generations(jsonb) to service_role;
comment on function public.complete_generations(jsonb) is
  'For workers: ends leased items as completed and records their pictures, many in one call.';
