create table batchgen.batch_templates (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id) on delete cascade,
  name text not null constraint name_is_short check (length(name) between 1 and 200),
  request jsonb not null constraint request_is_an_object check (jsonb_typeof(request) = 'object'),
  defaults jsonb not null default '{}' constraint defaults_are_an_object check (jsonb_typeof(defaults) = 'object'),
  is_public boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index batch_templates_name on batchgen.batch_templates (user_id, name) nulls not distinct;
create index batch_templates_public on batchgen.batch_templates (name, id) where is_public;

alter table batchgen.batch_templates enable row level security;
create policy "Nobody" on batchgen.batch_templates for all to public using (false);
revoke all on batchgen.batch_templates from public, anon, authenticated, service_role;

comment on table batchgen.batch_templates is
  'Templates of whole requests with placeholders such as {{animal}}. Set is_public to let every user read and use one.';
comment on column batchgen.batch_templates.id is 'Id of the template.';
comment on column batchgen.batch_templates.user_id is 'Owner; empty for the project''s own templates.';
comment on column batchgen.batch_templates.name is 'Name; each owner has it once.';
comment on column batchgen.batch_templates.request is
  'The request as for create_batch, with placeholders in its texts.';
comment on column batchgen.batch_templates.defaults is 'Values of placeholders that a request leaves out, by name.';
comment on column batchgen.batch_templates.is_public is
  'True if every signed-in user may read and use it. Only admins set it; an edit by its owner unsets it.';
comment on column batchgen.batch_templates.created_at is 'When the template was created.';
comment on column batchgen.batch_templates.updated_at is 'When its name, request or defaults last changed.';
