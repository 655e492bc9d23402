-- Whatever the project's policies and grants let through: first ours, then all-allowing ones, then none.
begin;
\ir ../setup.psql
\ir ../refused_writes.psql
create temporary table refused (name text, what text);
insert into refused values
  ('Fox', 'a capital'), (' fox', 'a space before'), ('fox ', 'a space behind'), ('', 'no word'), (' ', 'a space alone'),
  (repeat('x', 51), 'too long'), (null, 'null');
create function pg_temp.inserted(p_name text, p_color text default null) returns text language sql as $$
  select pg_temp.answer(
    'authenticated', 'aaaaaaaa-0000-4000-8000-000000000001',
    format('insert into public.tags (name, color) values (%L, %L)', p_name, p_color), in_full => p_color is not null
  )
$$;
create function pg_temp.inserted_by_nobody() returns text language sql as $$
  select pg_temp.answer('authenticated', null, 'insert into public.tags (name) values (''fox'')')
$$;
select plan((3 * (2 + (select count(*) from refused)))::integer);

select is(pg_temp.inserted(name), 'PT422', what) from refused;
select is(pg_temp.inserted('fox', repeat('x', 51)), 'PT422 not_allowed color', 'a long colour');
select is(pg_temp.inserted_by_nobody(), 'PT401', 'a token without a user');

\ir ../policies_allow_all.psql
select is(pg_temp.inserted(name), 'PT422', what || ', where policies allow all') from refused;
select is(pg_temp.inserted('fox', repeat('x', 51)), 'PT422 not_allowed color',
  'a long colour, where policies allow all');
select is(pg_temp.inserted_by_nobody(), 'PT401', 'a token without a user, where policies allow all');

\ir ../triggers_alone.psql
select is(pg_temp.inserted(name), 'PT422', what || ', without policies') from refused;
select is(pg_temp.inserted('fox', repeat('x', 51)), 'PT422 not_allowed color', 'a long colour, without policies');
select is(pg_temp.inserted_by_nobody(), 'PT401', 'a token without a user, without policies');

select * from finish();
rollback;
