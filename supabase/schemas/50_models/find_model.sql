-- find_model(p_model_id, p_field)
-- The active model with this models.id or models.replicate_id; for '' or null, the default model. p_field: its path in
-- the request, for errors.
create function batchgen.find_model(
  p_model_id text, p_field text default 'shared_settings.model_id'
) returns public.models
language plpgsql stable set search_path = '' as $$
declare
  v_model public.models;
begin
  if coalesce(p_model_id, '') = '' then
    select m.* into v_model from public.models m where m.is_active and m.is_default order by m.sort_order, m.name
      limit 1;
    if not found then
      perform batchgen.refuse('no_default_model', 'No active model is marked as the default.',
        p_field, 'Name a model, or have an admin set models.is_default on an active one.');
    end if;
    return v_model;
  end if;
  select m.* into v_model from public.models m
  where m.id::text = lower(p_model_id) or m.replicate_id = p_model_id
  order by m.is_active desc nulls last, m.sort_order, m.name limit 1;
  if not found then
    perform batchgen.refuse('unknown_model', p_field || ' matches no model.', p_field,
      'Use models.id or models.replicate_id of an active model, or leave it out for the default model.');
  end if;
  if v_model.is_active is not true then
    -- Without its name: an admin may have hidden it.
    perform batchgen.refuse('inactive_model', 'This model is not available.', p_field,
      'Choose an active model.');
  end if;
  return v_model;
end
$$;
revoke execute on function batchgen.find_model(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.find_model(text, text) is 'The active model that a request names, or the default model.';
