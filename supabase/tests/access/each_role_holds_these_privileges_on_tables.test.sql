-- Tables, views and single columns; what is not in the list is granted to nobody but the owner.
begin;
set local search_path = public, extensions;
select plan(1);

select bag_eq(
  $$
    with granted as (
      select c.oid, c.relacl as acl, null::name as column_name from pg_class c
      where c.relkind in ('r', 'v', 'm', 'p', 'f', 'S')
      union all
      select a.attrelid, a.attacl, a.attname from pg_attribute a where a.attacl is not null and not a.attisdropped
    )
    select n.nspname || '.' || c.relname || coalesce('.' || g.column_name, ''),
      case when e.grantee = 0 then 'public' else e.grantee::regrole::text end,
      string_agg(lower(e.privilege_type), ', ' order by e.privilege_type)
    from granted g
    join pg_class c on c.oid = g.oid
    join pg_namespace n on n.oid = c.relnamespace
    cross join aclexplode(g.acl) e
    where n.nspname in ('public', 'batchgen', 'batchgen_api') and e.grantee <> c.relowner
    group by 1, 2
  $$,
  $$
    values
      ('public.batch_generations', 'authenticated', 'select'),
      ('public.batch_generations', 'service_role', 'delete, insert, select, update'),
      ('public.batch_progress', 'authenticated', 'select'),
      ('public.batch_progress', 'service_role', 'select'),
      ('public.image_generations', 'authenticated', 'select'),
      ('public.image_generations', 'service_role', 'delete, insert, select, update'),
      ('public.image_tags', 'authenticated', 'select'),
      ('public.image_tags', 'service_role', 'delete, insert, select, update'),
      ('public.images', 'authenticated', 'select'),
      ('public.images', 'service_role', 'delete, insert, select, update'),
      ('public.models', 'anon', 'select'),
      ('public.models', 'authenticated', 'select'),
      ('public.models', 'service_role', 'delete, insert, select, update'),
      ('public.tags', 'authenticated', 'select'),
      ('public.tags', 'service_role', 'delete, insert, select, update')
  $$,
  'tables, views and columns are granted as listed'
);

select * from finish();
rollback;
