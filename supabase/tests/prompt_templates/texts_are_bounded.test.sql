begin;
\ir ../setup.psql
create temporary table long (column_name text, characters integer, which text);
insert into long values ('name', 201, 'name_is_short'), ('category', 201, 'category_is_short'),
  ('prompt', 100001, 'prompt_is_bounded'),
  ('negative_prompt', 100001, 'negative_prompt_is_bounded');
insert into public.prompt_templates (name, prompt) values ('n', 'p');
select plan(4);

select throws_like(
  format('update public.prompt_templates set %I = %L', column_name, repeat('x', characters)), '%"' || which || '"%',
    column_name || ' is bounded'
) from long;

select * from finish();
rollback;
