create function batchgen_api.generate_similar(
  p_batch_id uuid, p_generation_ids uuid[], p_count integer, p_client_key text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[] := batchgen.sources_of(p_batch_id, p_generation_ids, true);
  v_least integer := (select s.min_batch_size from batchgen.settings s);
  v_most integer := (select s.max_batch_size from batchgen.settings s);
  v_count integer := coalesce(p_count, ceil(v_least::numeric / cardinality(v_ids)));
begin
  if v_count not between 1 and v_most then
    perform batchgen.refuse('out_of_range', format('p_count is out of range: it must be from 1 to %s.', v_most),
      'p_count', format('Choose a whole number from 1 to %s, or leave it out.', v_most), null,
      jsonb_build_object('min', 1, 'max', v_most));
  end if;
  perform batchgen.check_new_size(
    (select b.user_id from public.batch_generations b where b.id = p_batch_id), cardinality(v_ids), v_count, 'p_count');
  return batchgen.submit_again(p_batch_id, v_ids, batchgen.settings_of_items(p_batch_id, v_ids, '{}'), v_count,
    p_client_key);
end
$$;
revoke execute on function batchgen_api.generate_similar(uuid, uuid[], integer, text)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.generate_similar(uuid, uuid[], integer, text) to authenticated, service_role;
comment on function batchgen_api.generate_similar(uuid, uuid[], integer, text) is 'Behind public.generate_similar.';

-- generate_similar(p_batch_id, p_generation_ids, p_count, p_client_key)
-- Submit a new batch with the prompts and settings of a batch's pictures, or of the named items' ones, and new seeds:
-- p_count of each, by default one, or as many as a batch needs. Answer: as described at sources_of.
-- Caller: authenticated, for a batch of their own; service_role, for any, on behalf of its owner.
-- Errors: PT401, PT404; PT422 for items without a picture, too few or too many; those of create_batch.
create function public.generate_similar(
  p_batch_id uuid, p_generation_ids uuid[] default null, p_count integer default null, p_client_key text default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.generate_similar(p_batch_id, p_generation_ids, p_count, p_client_key)
$$;
revoke execute on function public.generate_similar(uuid, uuid[], integer, text)
from public, anon, authenticated, service_role;
grant execute on function public.generate_similar(uuid, uuid[], integer, text) to authenticated, service_role;
comment on function public.generate_similar(uuid, uuid[], integer, text) is
  'Submits a new batch with the prompts and settings of pictures, and new seeds.';

create function batchgen_api.run_again(
  p_batch_id uuid, p_generation_ids uuid[], p_shared_settings jsonb, p_client_key text
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[] := batchgen.sources_of(p_batch_id, p_generation_ids, false);
  v_changes jsonb := coalesce(nullif(p_shared_settings, 'null'), '{}');
begin
  if jsonb_typeof(v_changes) <> 'object' then
    perform batchgen.refuse('wrong_type', 'p_shared_settings is not an object.', 'p_shared_settings',
      'Send {model_id, model_version, width, height, steps, guidance_scale}, or leave it out.');
  end if;
  perform batchgen.check_new_size(
    (select b.user_id from public.batch_generations b where b.id = p_batch_id), cardinality(v_ids), 1,
    'p_generation_ids');
  return batchgen.submit_again(p_batch_id, v_ids,
    batchgen.settings_of_items(p_batch_id, v_ids, jsonb_strip_nulls(v_changes)), null, p_client_key);
end
$$;
revoke execute on function batchgen_api.run_again(uuid, uuid[], jsonb, text)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.run_again(uuid, uuid[], jsonb, text) to authenticated, service_role;
comment on function batchgen_api.run_again(uuid, uuid[], jsonb, text) is 'Behind public.run_again.';

-- run_again(p_batch_id, p_generation_ids, p_shared_settings, p_client_key)
-- Submit a batch, or the named items, again as a new batch with the same prompts, seeds and settings.
-- p_shared_settings: those that are to differ, {model_id, model_version, width, height, steps, guidance_scale}. Answer:
-- as described at sources_of.
-- Caller: authenticated, for a batch of their own; service_role, for any, on behalf of its owner.
-- Errors: PT401, PT404; PT422 for items with different settings, too few or too many; those of create_batch.
create function public.run_again(
  p_batch_id uuid, p_generation_ids uuid[] default null, p_shared_settings jsonb default null,
  p_client_key text default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.run_again(p_batch_id, p_generation_ids, p_shared_settings, p_client_key)
$$;
revoke execute on function public.run_again(uuid, uuid[], jsonb, text) from public, anon, authenticated, service_role;
grant execute on function public.run_again(uuid, uuid[], jsonb, text) to authenticated, service_role;
comment on function public.run_again(uuid, uuid[], jsonb, text) is
  'Submits a batch again with the same seeds, or with another model or size.';
