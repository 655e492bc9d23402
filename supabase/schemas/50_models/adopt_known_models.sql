-- adopt_known_models()
-- Assign known models to their provider, in a project that had its own models: those whose replicate_id is known and
-- that have no provider yet are ordered at their provider from now on. Returns the number of models assigned.
-- Caller: an admin only, since pictures cost money from then on.
create function batchgen.adopt_known_models() returns integer
language sql set search_path = '' as $$
  with adopted as (
    insert into batchgen.model_providers (model_id, provider, provider_model, provider_version, inputs, price_usd,
      estimated_seconds)
    select m.id, k.provider, k.provider_model, k.provider_version, k.inputs, k.price_usd, k.estimated_seconds
    from public.models m join batchgen.known_models k on k.provider_model = m.replicate_id
    on conflict do nothing
    returning 1
  )
  select count(*)::integer from adopted
$$;
revoke execute on function batchgen.adopt_known_models() from public, anon, authenticated, service_role;
comment on function batchgen.adopt_known_models() is
  'For admins of a project that had its own models: assigns the known ones among them to their provider. Returns '
  'their number.';
