-- get_models()
-- All models, active ones first, with what only operators see: provider, price, and inactive models. Users read
-- public.models.
-- Caller: service_role.
create function public.get_models()
returns table (
  id uuid, name text, display_name text, replicate_id text, provider text, provider_model text, is_active boolean,
  is_default boolean, price_usd numeric, estimated_seconds double precision, default_width integer,
  default_height integer,
  min_width integer, max_width integer, min_height integer, max_height integer, max_steps integer
)
language sql stable security definer set search_path = '' as $$
  select m.id, m.name, m.display_name, m.replicate_id, b.provider, b.provider_model, coalesce(m.is_active, false),
    coalesce(m.is_default, false), b.price_usd, b.estimated_seconds, m.default_width, m.default_height,
    m.min_width, m.max_width, m.min_height, m.max_height, m.max_steps
  from public.models m join batchgen.models b on b.id = m.id
  order by coalesce(m.is_active, false) desc, coalesce(m.is_default, false) desc, m.sort_order, m.display_name, m.id
$$;
revoke execute on function public.get_models() from public, anon, authenticated, service_role;
grant execute on function public.get_models() to service_role;
comment on function public.get_models() is 'For operators: all models, with provider and price.';
