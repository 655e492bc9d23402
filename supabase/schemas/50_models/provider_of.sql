create function batchgen.provider_of(p_model_id uuid) returns text
language sql stable security definer set search_path = '' as $$
  select coalesce((select m.provider from batchgen.model_providers m where m.model_id = p_model_id), 'offline')
$$;
revoke execute on function batchgen.provider_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.provider_of(uuid) is 'The provider that runs a model.';
