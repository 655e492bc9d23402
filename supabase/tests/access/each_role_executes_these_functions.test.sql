-- What is not in the list is executable by nobody but the owner: all of batchgen, and every trigger function.
begin;
set local search_path = public, extensions;
select plan(2);

select bag_eq(
  $$
    select n.nspname || '.' || p.proname || '(' || replace(oidvectortypes(p.proargtypes), ' ', '') || ')',
      case when e.grantee = 0 then 'public' else e.grantee::regrole::text end
    from pg_proc p
    join pg_namespace n on n.oid = p.pronamespace
    cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e
    where n.nspname in ('public', 'batchgen', 'batchgen_api') and e.grantee <> p.proowner
  $$,
  $$
    values
      ('batchgen_api.batch_waits(uuid)', 'authenticated'),
      ('batchgen_api.create_batch(jsonb)', 'authenticated'),
      ('batchgen_api.waits_of_any_batch(uuid)', 'service_role'),
      ('public.attach_provider_job(uuid,uuid,text,text)', 'service_role'),
      ('public.batch_waits(uuid)', 'authenticated'),
      ('public.batch_waits(uuid)', 'service_role'),
      ('public.claim_generations(text,integer,integer)', 'service_role'),
      ('public.complete_generation(uuid,uuid,jsonb)', 'service_role'),
      ('public.create_batch(jsonb)', 'authenticated'),
      ('public.create_batch_as(uuid,jsonb)', 'service_role'),
      ('public.fail_generation(uuid,uuid,jsonb)', 'service_role'),
      ('public.release_generations(text,uuid[])', 'service_role'),
      ('public.renew_leases(text,uuid[],integer)', 'service_role'),
      ('public.return_expired_leases()', 'service_role')
  $$,
  'functions are executable as listed'
);

select is_empty(
  $$
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api')
      and not coalesce(p.proconfig, '{}') @> array['search_path=""']
  $$,
  'no function is found by the names on its caller''s search_path'
);

select * from finish();
rollback;
