-- What the project had before anything was made, for supabase/uninstall.sql. The migration found_objects fills it.
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
  'What the project had when batchgen was installed, one row an object. supabase/uninstall.sql restores it.';
comment on column batchgen.found_objects.kind is
  'schema, table (or view), column, index, policy, publication, published or function.';
comment on column batchgen.found_objects.on_table is 'The table that it is part of; empty where it is none''s.';
comment on column batchgen.found_objects.name is 'Its name; of tables and functions with the schema.';
comment on column batchgen.found_objects.rights is 'Its rights; empty where they were those of the owner by default.';
comment on column batchgen.found_objects.row_security is 'Whether the table had row level security.';
comment on column batchgen.found_objects.options is 'Options of the table or view.';
comment on column batchgen.found_objects.description is 'Its comment.';
comment on column batchgen.found_objects.definition is 'The statement that makes the function.';
comment on column batchgen.found_objects.found_at is 'When batchgen was installed.';
