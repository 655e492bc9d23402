-- adopt_known_models()
-- For a project that had its models before. Those whose replicate_id is known here and that have no provider yet are
-- ordered at their provider from now on. Nobody calls it but an admin: from then on the pictures cost money. Returns
-- how many.
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
  'For admins of a project that had its models before: has the ones that are known here made at their provider. '
  'Returns how many.';
