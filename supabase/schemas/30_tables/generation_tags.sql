create table batchgen.generation_tags (
  generation_id uuid not null references public.image_generations (id) on delete cascade,
  name text not null,
  primary key (generation_id, name)
);

alter table batchgen.generation_tags enable row level security;
create policy "Nobody" on batchgen.generation_tags for all to public using (false);
revoke all on batchgen.generation_tags from public, anon, authenticated, service_role;

comment on table batchgen.generation_tags is 'Tags that a request asked for; put on the picture once it exists.';
comment on column batchgen.generation_tags.generation_id is 'The item.';
comment on column batchgen.generation_tags.name is 'The tag, trimmed and in lower case.';
