begin;
set local search_path = public, extensions;
select plan(1);

select bag_eq(
  $$
    select n.nspname::text, case when e.grantee = 0 then 'public' else e.grantee::regrole::text end,
      lower(e.privilege_type)
    from pg_namespace n cross join aclexplode(n.nspacl) e
    where n.nspname in ('batchgen', 'batchgen_api') and e.grantee <> n.nspowner
  $$,
  $$
    values
      ('batchgen_api', 'authenticated', 'usage'),
      ('batchgen_api', 'service_role', 'usage')
  $$,
  'nobody uses batchgen; callers of functions use batchgen_api'
);

select * from finish();
rollback;
