begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
create function pg_temp.inserting(p_column text, p_value text) returns text language sql as $$
  select format('insert into public.image_generations (user_id, prompt, %I) values (%L, %L, %L)', p_column,
    'aaaaaaaa-0000-4000-8000-000000000001', 'p', p_value)
$$;
select plan(14);

:as_owner;
select throws_ok(pg_temp.inserting(b.name, b.value), 'PT422', null, b.name || ' is bounded')
from (values ('model', repeat('x', 201)), ('style', repeat('x', 201)),
  ('source_image_url', 'https://a.test/' || repeat('x', 2048)),
  ('source_image_url', 'javascript:alert(1)'), ('generation_strength', 'NaN'), ('generation_strength', '-1')) b (name,
    value);
select lives_ok(pg_temp.inserting(b.name, b.value), b.value || ' is fine')
from (values ('source_image_url', 'https://a.test/x.png'), ('source_image_url', 'own/path.png'),
  ('style', 'anime')) b (name, value);
select throws_ok(
  $$ insert into public.image_generations (user_id, prompt) select 'aaaaaaaa-0000-4000-8000-000000000001', 'p'
    from generate_series(1, 101) $$,
  'PT429', 'image_generations: at most 100 rows per request.', 'not more than a hundred at once'
);
:as_admin;
select is(
  (select daily_generations_count from public.user_rate_limits where user_id = 'aaaaaaaa-0000-4000-8000-000000000001'),
    3, 'each counts'
);
update public.user_rate_limits set daily_generations_limit = 4;
:as_owner;
select throws_ok(
  $$ insert into public.image_generations (user_id, prompt) select 'aaaaaaaa-0000-4000-8000-000000000001', 'p'
    from generate_series(1, 2) $$,
  'PT429', null, 'within the user''s limits'
);
select throws_ok($$ truncate public.image_generations cascade $$, '42501', null, 'nobody truncates items');
select throws_ok($$ truncate public.batch_generations cascade $$, '42501', null, 'nobody truncates batches');

select * from finish();
rollback;
