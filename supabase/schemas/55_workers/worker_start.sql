-- worker_start()
-- Everything that a worker checks before its first claim: the functions that it will call, with their arguments, the
-- models that requests may name, with their providers, and whether pictures are public or private.
-- Create the policies on Realtime's topics that are missing.
-- Caller: service_role.
create function public.worker_start() returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.protect_topics();
  return jsonb_build_object(
    'functions', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'name', p.proname, 'arguments', coalesce(to_jsonb(p.proargnames), '[]')
      )), '[]')
      from pg_catalog.pg_proc p
      where p.pronamespace = 'public'::regnamespace and p.prokind = 'f'
        and p.prorettype <> 'pg_catalog.trigger'::regtype and has_function_privilege('service_role', p.oid, 'execute')
        and not has_function_privilege('anon', p.oid, 'execute')
    ),
    'models', (
      select coalesce(jsonb_agg(jsonb_build_object('name', left(m.name, 200), 'provider', m.provider)), '[]')
      from (select o.name, o.provider from batchgen.models o where o.is_active order by o.name limit 1000) m
    ),
    'pictures', (select s.pictures from batchgen.settings s)
  );
end
$$;
revoke execute on function public.worker_start() from public, anon, authenticated, service_role;
grant execute on function public.worker_start() to service_role;
comment on function public.worker_start() is
  'For workers: the functions that exist, the active models with their providers, and settings.pictures.';
