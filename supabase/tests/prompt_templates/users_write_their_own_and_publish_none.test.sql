begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
insert into public.prompt_templates (name, prompt, user_id, is_public, use_count) values
  ('published', 'p', 'aaaaaaaa-0000-4000-8000-000000000001', true, 7),
  ('theirs', 'p', 'bbbbbbbb-0000-4000-8000-000000000002', false, 0);
create function pg_temp.inserting(p_column text, p_value text) returns text language sql as $$
  select format('insert into public.prompt_templates ('
    'user_id, name, prompt, category, negative_prompt, is_public, use_count)'
    ' select t.user_id, t.name, t.prompt, t.category, t.negative_prompt, t.is_public, t.use_count from'
    ' jsonb_populate_record(null::public.prompt_templates, %L) t',
    '{"user_id": "aaaaaaaa-0000-4000-8000-000000000001", "name": "n", "prompt": "p"}'::jsonb
      || jsonb_build_object(p_column, p_value))
$$;
select plan(18);

:as_owner;
select throws_ok(pg_temp.inserting(b.name, b.value), b.state, null, b.name || ' is checked')
from (values ('name', repeat('x', 201), 'PT422'), ('category', repeat('x', 201), 'PT422'),
  ('prompt', repeat('x', 4001), 'PT422'),
  ('negative_prompt', repeat('x', 4001), 'PT422'), ('use_count', '1', 'PT403'), ('is_public', 'true', 'PT403'),
  ('user_id', 'bbbbbbbb-0000-4000-8000-000000000002', 'PT403')) b (name, value, state);
select lives_ok(pg_temp.inserting('is_public', 'false'), 'a private one of one''s own');
select throws_ok($$ update public.prompt_templates set use_count = 8 where name = 'published' $$, 'PT403', null,
  'nobody sets a count of uses');
select throws_ok($$ update public.prompt_templates set is_public = true where name = 'n' $$, 'PT403', null,
  'nobody publishes a template');
select throws_ok($$ update public.prompt_templates set user_id = 'bbbbbbbb-0000-4000-8000-000000000002'
  where name = 'n' $$, 'PT403', null, 'nobody gives a template away');
select throws_ok($$ update public.prompt_templates set name = 'x' where name = 'theirs' $$, 'PT403', null,
  'nobody writes somebody else''s template');
select throws_ok($$ delete from public.prompt_templates where name = 'theirs' $$, 'PT403', null,
  'nobody deletes somebody else''s template');
select throws_ok($$ truncate public.prompt_templates $$, 'PT403', null, 'nobody truncates templates');
select lives_ok($$ update public.prompt_templates set prompt = 'another' where name = 'published' $$,
  'a published template may be changed');
:as_admin;
select results_eq(
  $$ select is_public, use_count from public.prompt_templates where name = 'published' $$, $$ values (false, 7) $$,
    'a changed template is private again'
);
:as_owner;
select throws_ok(
  $$ insert into public.prompt_templates (user_id, name, prompt) select 'aaaaaaaa-0000-4000-8000-000000000001', 'n', 'p'
    from generate_series(1, 101) $$,
  'PT429', 'prompt_templates: at most 100 rows per request.', 'a hundred at once'
);
:as_admin;
insert into public.prompt_templates (user_id, name, prompt) select 'aaaaaaaa-0000-4000-8000-000000000001', 'n', 'p'
  from generate_series(1, 998);
:as_owner;
select throws_ok(pg_temp.inserting('name', 'm'), 'PT429', 'prompt_templates: at most 1000 templates per user.',
  'a thousand templates in all');

select * from finish();
rollback;
