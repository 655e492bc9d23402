-- Objects that the project had before the installation, for supabase/uninstall.sql; filled by the migration
-- found_objects.
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

alter table batchgen.found_objects enable row level security;
create policy "Nobody" on batchgen.found_objects for all to public using (false);
revoke all on batchgen.found_objects from public, anon, authenticated, service_role;

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
