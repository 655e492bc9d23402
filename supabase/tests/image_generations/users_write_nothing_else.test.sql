-- Whatever the project's policies and grants let through: first ours, then all-allowing ones, then none.
begin;
\ir ../setup.psql
\ir ../lease.psql
\ir ../refused_writes.psql
insert into public.batch_generations (id, user_id, name, total_count)
values ('ba7c0000-0000-4000-8000-000000000003', 'aaaaaaaa-0000-4000-8000-000000000001', 'hers, too', 1);
insert into public.image_generations (user_id, prompt, status, batch_id, batch_index) values
  ('aaaaaaaa-0000-4000-8000-000000000001', 'waiting', 'pending', 'ba7c0000-0000-4000-8000-000000000001', 2),
  ('aaaaaaaa-0000-4000-8000-000000000001', 'failed', 'failed', 'ba7c0000-0000-4000-8000-000000000001', 3),
  ('aaaaaaaa-0000-4000-8000-000000000001', 'in the other', 'pending', 'ba7c0000-0000-4000-8000-000000000003', 0),
  ('aaaaaaaa-0000-4000-8000-000000000001', 'single, failed', 'failed', null, null),
  ('aaaaaaaa-0000-4000-8000-000000000001', 'single, completed', 'completed', null, null);
update public.image_generations set retry_count = 1 where batch_id = 'ba7c0000-0000-4000-8000-000000000001';

-- The owner's statements in short, and the answer where policies and grants let them pass.
create temporary table refused (of text, what text, answer text);
insert into refused values
  ('item', 'status = ''completed''', 'PT403'),
  ('item', 'status = ''processing''', 'PT403'),
  ('item', 'status = null', 'PT403'),
  ('item', 'status = ''cancelled''', 'PT403'),
  ('item', 'prompt = ''other''', 'PT403'),
  ('item', 'batch_id = null', 'PT403'),
  ('item', 'batch_id = ''ba7c0000-0000-4000-8000-000000000003''', 'PT403'),
  ('item', 'batch_index = 7', 'PT403'),
  ('item', 'priority = 100', 'PT403'),
  ('item', 'seed = 1', 'PT403'),
  ('item', 'user_id = ''bbbbbbbb-0000-4000-8000-000000000002''', 'PT403'),
  ('item', 'created_at = ''2001-01-01''', 'PT403'),
  ('item', 'replicate_prediction_id = ''mine''', 'PT403'),
  ('item', 'id = gen_random_uuid()', 'PT403'),
  ('item', 'generation_time_seconds = 1', 'PT403'),
  ('item', 'status = ''failed'', priority = 100', 'PT403'),
  ('item', 'status = ''pending'', priority = 100', 'PT403'),
  ('item that runs or is completed', 'error_message = ''mine''', 'PT403'),
  ('item', 'retry_count = 0', 'PT403'),
  ('item that waits or failed', 'retry_count = -5', 'no error'),
  ('failed item', 'completed_at = null', 'no error'),
  ('item that is not failed', 'status = ''pending''', 'no error'),
  ('final item', 'status = ''failed''', 'no error'),
  ('single', 'status = ''completed''', 'PT403'),
  ('single', 'status = ''pending'', error_message = null', 'no error'),
  ('single', 'batch_id = ''ba7c0000-0000-4000-8000-000000000001''', 'PT403'),
  ('new row', 'batch_id = ''ba7c0000-0000-4000-8000-000000000001''', 'PT403'),
  ('new row', 'batch_index = 0', 'PT403'),
  ('new row', 'user_id = ''bbbbbbbb-0000-4000-8000-000000000002''', 'PT403'),
  ('new row', 'user_id = null', 'PT403'),
  ('new row', 'status = ''completed''', 'PT422'),
  ('new row', 'status = ''processing''', 'PT422'),
  ('new row', 'status = null', 'PT422'),
  ('new row', 'priority = 5', 'PT403'),
  ('new row', 'retry_count = -5', 'PT403'),
  ('new row', 'replicate_prediction_id = ''job''', 'PT403'),
  ('new row', 'completed_at = now()', 'PT403'),
  ('items', 'delete', 'PT403'),
  ('singles', 'delete', 'PT403'),
  ('items', 'truncate', '42501');
create function pg_temp.statement_of(p refused) returns text language sql as $$
  select case p.of
    when 'new row' then case
      when p.what like 'user_id = %' then format(
        'insert into public.image_generations (prompt, user_id) values (''forged'', %s)', split_part(p.what, ' = ', 2)
      )
      else format(
        'insert into public.image_generations (user_id, prompt, %s) values (%L, ''forged'', %s)',
        split_part(p.what, ' = ', 1), 'aaaaaaaa-0000-4000-8000-000000000001', split_part(p.what, ' = ', 2)
      )
    end
    when 'singles' then 'delete from public.image_generations where batch_id is null'
    when 'items' then case p.what
      when 'truncate' then 'truncate public.image_generations cascade'
      else 'delete from public.image_generations where batch_id = ''ba7c0000-0000-4000-8000-000000000001'''
    end
    else format('update public.image_generations set %s where %s', p.what, case p.of
      when 'single' then 'batch_id is null and user_id = ''aaaaaaaa-0000-4000-8000-000000000001'''
      else 'batch_id = ''ba7c0000-0000-4000-8000-000000000001''' || case p.of
        when 'item' then ''
        when 'item that waits or failed' then ' and status in (''pending'', ''failed'')'
        when 'item that runs or is completed' then ' and status in (''processing'', ''completed'')'
        when 'failed item' then ' and status = ''failed'''
        when 'final item' then ' and status in (''completed'', ''failed'')'
        else ' and status <> ''failed'''
      end
    end)
  end
$$;
-- The app's own statements, sent by somebody else and without signing in.
create temporary table foreign_writes (what text, statement text);
insert into foreign_writes values
  ('retry', 'update public.image_generations set status = ''pending'', error_message = null, retry_count = 0
    where batch_id = ''ba7c0000-0000-4000-8000-000000000001'' and status = ''failed'''),
  ('cancel', 'update public.image_generations set status = ''failed'', error_message = ''Cancelled by user''
    where batch_id = ''ba7c0000-0000-4000-8000-000000000001'' and status = ''pending''');
create function pg_temp.as_owner(p_statement text) returns text language sql as $$
  select pg_temp.answer('authenticated', 'aaaaaaaa-0000-4000-8000-000000000001', p_statement)
$$;
select plan((3 * (1 + (select count(*) from refused) + 2 * (select count(*) from foreign_writes)))::integer);

select ok(pg_temp.as_owner(pg_temp.statement_of(r)) in (r.answer, '42501'), left(r.of || ': ' || r.what, 80))
from refused r;
select ok(
  pg_temp.answer(role, 'bbbbbbbb-0000-4000-8000-000000000002', f.statement) in ('no error', '42501'),
  f.what || ' by a stranger, ' || role
) from foreign_writes f, unnest(array['authenticated', 'anon']) role;
select is((select count(*)::integer from public.image_generations), 9, 'all rows stay');

\ir ../policies_allow_all.psql
select is(
  pg_temp.as_owner(pg_temp.statement_of(r)), r.answer, left(r.of || ', where policies allow all: ' || r.what, 80)
)
from refused r;
select is(
  pg_temp.answer(role, 'bbbbbbbb-0000-4000-8000-000000000002', f.statement), 'PT403',
  f.what || ' by a stranger, where policies allow all, ' || role
) from foreign_writes f, unnest(array['authenticated', 'anon']) role;
select is((select count(*)::integer from public.image_generations), 9, 'all rows stay where policies allow all');

\ir ../triggers_alone.psql
select is(pg_temp.as_owner(pg_temp.statement_of(r)), r.answer, left(r.of || ', without policies: ' || r.what, 80))
from refused r;
select is(
  pg_temp.answer(role, 'bbbbbbbb-0000-4000-8000-000000000002', f.statement), 'PT403',
  f.what || ' by a stranger, without policies, ' || role
) from foreign_writes f, unnest(array['authenticated', 'anon']) role;
select is((select count(*)::integer from public.image_generations), 9, 'all rows stay without policies');

select * from finish();
rollback;
