-- Record what the project had before the installation, for supabase/uninstall.sql: the tables and views that batchgen
-- uses, with their columns, indexes, policies, rights and comments, the publication, and get_user_limits(uuid).

do $$
begin
  -- A database that already has the following migrations can no longer be recorded.
  if exists (select from pg_namespace where nspname = 'batchgen') then
    return;
  end if;

  create schema batchgen;
  revoke all on schema batchgen from public;

  create table batchgen.found_objects (
    kind text not null,
    on_table text not null default '',
    name text not null,
    rights aclitem[],
    row_security boolean,
    options text[],
    description text,
    definition text,
    found_at timestamptz not null default now(),
    primary key (kind, on_table, name)
  );
  comment on table batchgen.found_objects is
    'Objects that the project had when batchgen was installed, one per row. supabase/uninstall.sql restores them.';
  comment on column batchgen.found_objects.kind is
    'schema, table (or view), column, index, policy, publication, published or function.';
  comment on column batchgen.found_objects.on_table is 'Table that the object belongs to; empty if it belongs to none.';
  comment on column batchgen.found_objects.name is 'Name of the object; schema-qualified for tables and functions.';
  comment on column batchgen.found_objects.rights is 'Access privileges; empty if the owner''s defaults applied.';
  comment on column batchgen.found_objects.row_security is 'True if the table had row level security.';
  comment on column batchgen.found_objects.options is 'Options of the table or view.';
  comment on column batchgen.found_objects.description is 'Comment on the object.';
  comment on column batchgen.found_objects.definition is 'The statement that creates the function.';
  comment on column batchgen.found_objects.found_at is 'When batchgen was installed.';
  alter table batchgen.found_objects enable row level security;
  create policy "Nobody" on batchgen.found_objects for all to public using (false);
  revoke all on batchgen.found_objects from public, anon, authenticated, service_role;

  insert into batchgen.found_objects (kind, name)
  select 'schema', n.nspname from pg_namespace n where n.nspname in ('public', 'auth');

  insert into batchgen.found_objects (kind, name, rights, row_security, options, description)
  select 'table', n.nspname || '.' || c.relname, c.relacl, c.relrowsecurity, c.reloptions,
    obj_description(c.oid, 'pg_class')
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'v') and (n.nspname, c.relname) in (
    ('public', 'models'), ('public', 'image_generations'), ('public', 'images'), ('public', 'tags'),
    ('public', 'image_tags'), ('public', 'batch_generations'), ('public', 'batch_progress'),
    ('public', 'user_rate_limits'), ('public', 'prompt_templates'), ('auth', 'users')
  );

  insert into batchgen.found_objects (kind, on_table, name, rights, description)
  select 'column', f.name, a.attname, a.attacl, col_description(a.attrelid, a.attnum)
  from batchgen.found_objects f
  join pg_attribute a on a.attrelid = ('public.' || quote_ident(split_part(f.name, '.', 2)))::regclass
  where f.kind = 'table' and f.name like 'public.%' and a.attnum > 0 and not a.attisdropped;

  insert into batchgen.found_objects (kind, on_table, name)
  select 'index', 'public.' || tablename, indexname from pg_indexes where schemaname = 'public'
  union all
  select 'policy', schemaname || '.' || tablename, policyname from pg_policies
  where schemaname in ('public', 'storage', 'realtime')
  union all
  select 'publication', '', pubname from pg_publication where pubname = 'supabase_realtime'
  union all
  select 'published', '', schemaname || '.' || tablename
  from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public';

  insert into batchgen.found_objects (kind, name, rights, description, definition)
  select 'function', format('%s.%s(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)),
    coalesce(p.proacl, acldefault('f', p.proowner)), obj_description(p.oid, 'pg_proc'),
    format('%s; alter function %I.%I(%s) owner to %I', pg_get_functiondef(p.oid), n.nspname, p.proname,
      oidvectortypes(p.proargtypes), p.proowner::regrole::text)
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where p.prokind = 'f' and (n.nspname, p.proname, oidvectortypes(p.proargtypes)) in (
    ('public', 'get_user_limits', 'uuid'), ('auth', 'uid', '')
  );
end
$$;
