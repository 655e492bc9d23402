-- Items as they were before an edit: what an admin needs to tell why an item was blocked or charged twice.
create table batchgen.item_versions (
  id bigint generated always as identity primary key,
  generation_id uuid not null references public.image_generations (id) on delete cascade,
  prompt text,
  negative_prompt text,
  seed bigint,
  model_id uuid,
  error_code text,
  replaced_at timestamptz not null default clock_timestamp()
);
create index item_versions_generation on batchgen.item_versions (generation_id);

alter table batchgen.item_versions enable row level security;
create policy "Nobody" on batchgen.item_versions for all to public using (false);
revoke all on batchgen.item_versions from public, anon, authenticated, service_role;

comment on table batchgen.item_versions is
  'Earlier texts and settings of edited items, for admins. Users see only the ones in force.';
comment on column batchgen.item_versions.id is 'Surrogate key.';
comment on column batchgen.item_versions.generation_id is 'The item.';
comment on column batchgen.item_versions.prompt is 'Prompt before the edit.';
comment on column batchgen.item_versions.negative_prompt is 'Negative prompt before the edit.';
comment on column batchgen.item_versions.seed is 'Seed before the edit.';
comment on column batchgen.item_versions.model_id is 'Model before the edit.';
comment on column batchgen.item_versions.error_code is 'Error code with which the item had failed.';
comment on column batchgen.item_versions.replaced_at is 'When the item was edited.';
