-- complete_generation(p_generation_id, p_lease_id, p_result)
-- Complete a leased item, all or nothing: the item, its row of images, its tags and its batch's totals. p_result: an
-- object whose keys are columns of images; storage_path is required and must be in the owner's folder. Returns
-- {image_id}.
-- Caller: service_role.
-- States: processing -> completed.
-- Locks: as batchgen.complete_items.
-- Errors: PT409 if the lease is not held; PT422 for an invalid result.
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
  'For workers: completes a leased item and records its picture.';

-- complete_generations(p_results)
-- Run complete_generation for up to 1,000 items in one transaction. p_results: a list of {generation_id, lease_id,
-- result}. Returns a row per completed item; a missing item has lost its lease: drop its result.
-- Caller: service_role.
-- States: processing -> completed.
-- Locks: as batchgen.complete_items.
-- Errors: PT422 for an invalid result, PT409 busy if another session holds an item. Then nothing is written: send the
-- results one by one.
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
  'For workers: completes leased items and records their pictures, many in one call.';
