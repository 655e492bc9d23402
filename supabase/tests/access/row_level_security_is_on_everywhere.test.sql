begin;
set local search_path = public, extensions;
select plan(3);

select is_empty(
  $$
    select c.oid::regclass from pg_class c
    where c.relnamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api') and c.relkind in ('r', 'p')
      and not c.relrowsecurity
  $$,
  'row level security is on for every table'
);

select is_empty(
  $$
    select c.oid::regclass from pg_class c
    where c.relnamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api') and c.relkind in ('r', 'p')
      and not exists (select from pg_policy p where p.polrelid = c.oid)
  $$,
  'every table says by a policy who reads it, if only nobody'
);

select is_empty(
  $$
    select c.oid::regclass from pg_class c
    where c.relnamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api') and c.relkind = 'v'
      and not coalesce(c.reloptions, '{}') @> array['security_invoker=on']
  $$,
  'every view reads with its caller''s rights'
);

select * from finish();
rollback;
