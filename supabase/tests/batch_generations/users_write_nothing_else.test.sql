-- Whatever the project's policies and grants let through: first ours, then all-allowing ones, then none.
begin;
\ir ../setup.psql
\ir ../lease.psql
\ir ../refused_writes.psql
-- The owner's statements, and the answer where policies and grants let them pass.
create temporary table refused (what text, answer text);
insert into refused values
  ('completed_count = 2', 'PT403'),
  ('total_count = 1', 'PT403'),
  ('name = ''other''', 'PT403'),
  ('user_id = ''bbbbbbbb-0000-4000-8000-000000000002''', 'PT403'),
  ('created_at = ''2001-01-01''', 'PT403'),
  ('status = ''failed'', name = ''other''', 'PT403'),
  ('insert', 'PT403'),
  ('truncate', '42501');
create function pg_temp.as_owner(p_what text) returns text language sql as $$
  select pg_temp.answer('authenticated', 'aaaaaaaa-0000-4000-8000-000000000001', case p_what
    when 'insert' then
      'insert into public.batch_generations (user_id, total_count) values (''aaaaaaaa-0000-4000-8000-000000000001'', 1)'
    when 'truncate' then 'truncate public.batch_generations cascade'
    else format('update public.batch_generations set %s where name = ''hers''', p_what)
  end)
$$;
-- The app's own statements, sent by somebody else and without signing in.
create temporary table foreign_writes (what text, statement text);
insert into foreign_writes values
  ('retry', 'update public.batch_generations set status = ''processing'', failed_count = 0 where name = ''hers'''),
  ('cancel', 'update public.batch_generations set status = ''failed'', completed_at = now() where name = ''hers'''),
  ('delete', 'delete from public.batch_generations where name = ''hers''');
select plan((3 * ((select count(*) from refused) + 2 * (select count(*) from foreign_writes)))::integer);

select ok(pg_temp.as_owner(r.what) in (r.answer, '42501'), r.what) from refused r;
select ok(
  pg_temp.answer(role, 'bbbbbbbb-0000-4000-8000-000000000002', f.statement) in ('no error', '42501'),
  f.what || ' by a stranger, ' || role
) from foreign_writes f, unnest(array['authenticated', 'anon']) role;

\ir ../policies_allow_all.psql
select is(pg_temp.as_owner(r.what), r.answer, 'where policies allow all: ' || r.what) from refused r;
select is(
  pg_temp.answer(role, 'bbbbbbbb-0000-4000-8000-000000000002', f.statement), 'PT403',
  f.what || ' by a stranger, where policies allow all, ' || role
) from foreign_writes f, unnest(array['authenticated', 'anon']) role;

\ir ../triggers_alone.psql
select is(pg_temp.as_owner(r.what), r.answer, 'without policies: ' || r.what) from refused r;
select is(
  pg_temp.answer(role, 'bbbbbbbb-0000-4000-8000-000000000002', f.statement), 'PT403',
  f.what || ' by a stranger, without policies, ' || role
) from foreign_writes f, unnest(array['authenticated', 'anon']) role;

select * from finish();
rollback;
