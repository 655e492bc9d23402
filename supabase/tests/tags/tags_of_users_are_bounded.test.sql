begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
insert into public.tags (id, name) values ('7a600000-0000-4000-8000-000000000009', 'old');
select plan(17);

:as_owner;
select throws_ok(
  format('insert into public.tags (name, color) values (%L, %L)', 'birds', color), 'PT422', 'color is not a colour.',
    color || ' is no colour'
) from unnest(array['red;background:url(//evil.example/t.gif)', '#ff', '#12345', 'expression(1)', '']) color;
select lives_ok(
  format('insert into public.tags (name, color) values (%L, %L)', 'c' || n, color), color || ' is one'
) from unnest(array['#f0a', '#FF00AA', 'RebeccaPurple', '#ff00aa80']) with ordinality c (color, n);
select throws_ok(
  format('insert into public.tags (name) values (%L)', name), 'PT422',
    'name has a tag with control or invisible characters.',
  'no controls, and nothing that turns text around'
) from unnest(array[E'a\u202eb', E'a\u001bb', E'a\u200bb']) name;
select lives_ok(format('insert into public.tags (name) values (%L)', E'e\u0301te\u0301'),
  'a name of composed characters');
:as_admin;
select is((select created_by from public.tags where name = E'\u00e9t\u00e9'), 'aaaaaaaa-0000-4000-8000-000000000001',
  'a composed name is kept composed and belongs to its maker');

:as_owner;
select throws_ok(
  $$ insert into public.tags (name) select 'w' || n from generate_series(1, 21) n $$, 'PT429',
  'tags: at most 20 rows per request.', 'not more than 20 at once'
);
:as_admin;
insert into public.tags (name, created_by)
select 'x' || n, 'aaaaaaaa-0000-4000-8000-000000000001' from generate_series(1, 996) n;
:as_owner;
select throws_ok(
  $$ insert into public.tags (name) values ('one more') $$, 'PT429', 'tags: at most 1000 tags per user.',
    'not more than 1000 of one user'
);
select throws_ok($$ delete from public.tags where name = 'old' $$, 'PT403', 'You did not create this tag.',
  'nobody removes what others made');

select * from finish();
rollback;
