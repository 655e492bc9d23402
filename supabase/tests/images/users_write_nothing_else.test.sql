-- To pictures and their tags, whatever the project's policies and grants let through: first ours, then all-allowing
-- ones, then none. By the owner and without signing in.
begin;
\ir ../setup.psql
\ir ../refused_writes.psql
-- Everything below is hers but secret.png and its tag.
create temporary table refused (what text, statement text);
insert into refused values
  ('the owner of a picture', 'update public.images set user_id = ''bbbbbbbb-0000-4000-8000-000000000002''
    where filename = ''fox.png'''),
  ('its file', 'update public.images set storage_path = ''bbbbbbbb-0000-4000-8000-000000000002/a.png''
    where filename = ''fox.png'''),
  ('its thumbnail', 'update public.images set thumbnail_path = user_id || ''/a.png'' where filename = ''fox.png'''),
  ('a thumbnail of a new one', 'insert into public.images (user_id, filename, storage_path, prompt, thumbnail_path)
    values (''aaaaaaaa-0000-4000-8000-000000000001'', ''f'', ''aaaaaaaa-0000-4000-8000-000000000001/f.png'', ''p'',
      ''aaaaaaaa-0000-4000-8000-000000000001/a.png'')'),
  ('its item', 'update public.images set generation_id = null where filename = ''fox.png'''),
  ('its id', 'update public.images set id = gen_random_uuid() where filename = ''fox.png'''),
  ('its age', 'update public.images set created_at = now() + interval ''1 year'' where filename = ''fox.png'''),
  ('its source', 'update public.images set source_image_id = ''1a6e0000-0000-4000-8000-000000000002''
    where filename = ''fox.png'''),
  ('a rating of theirs', 'update public.images set rating = 1 where filename = ''secret.png'''),
  ('a deletion of theirs', 'delete from public.images where filename = ''secret.png'''),
  ('truncate images', 'truncate public.images cascade'),
  ('truncate tags', 'truncate public.tags cascade'),
  ('truncate image_tags', 'truncate public.image_tags'),
  ('the name of a tag', 'update public.tags set name = ''hijacked'''),
  ('a deletion of a tag', 'delete from public.tags'),
  ('a tag on theirs', 'insert into public.image_tags (image_id, tag_id)
    select ''1a6e0000-0000-4000-8000-000000000002'', ''7a600000-0000-4000-8000-000000000002'''),
  ('another picture for a tag', 'update public.image_tags set image_id = ''1a6e0000-0000-4000-8000-000000000001'''),
  ('a deletion of all tags on pictures', 'delete from public.image_tags');
delete from public.image_tags where image_id = '1a6e0000-0000-4000-8000-000000000001';
insert into public.tags (id, name) values ('7a600000-0000-4000-8000-000000000002', 'birds');
-- What she says of a new picture, and the column that the refusal names.
create temporary table forged (new_column text, value text, field text);
insert into forged values
  ('user_id', 'bbbbbbbb-0000-4000-8000-000000000002', 'user_id'),
  ('storage_path', 'bbbbbbbb-0000-4000-8000-000000000002/a.png', 'storage_path'),
  ('storage_path', 'a.png', 'storage_path'),
  ('storage_path', 'aaaaaaaa-0000-4000-8000-000000000001/../bbbbbbbb-0000-4000-8000-000000000002/a.png',
    'storage_path'),
  ('storage_path', 'aaaaaaaa-0000-4000-8000-000000000001/./a.png', 'storage_path'),
  ('storage_path', 'aaaaaaaa-0000-4000-8000-000000000001//a.png', 'storage_path'),
  ('storage_path', 'aaaaaaaa-0000-4000-8000-000000000001/', 'storage_path'),
  ('storage_path', 'aaaaaaaa-0000-4000-8000-000000000001/' || repeat('a', 1024), 'storage_path'),
  ('generation_id', '17e30000-0000-4000-8000-000000000003', 'generation_id'),
  ('generation_id', '17e30000-0000-4000-8000-000000000002', 'generation_id'),
  ('generation_id', '00000000-0000-4000-8000-000000000000', 'generation_id'),
  ('source_image_id', '1a6e0000-0000-4000-8000-000000000002', 'source_image_id'),
  ('source_image_id', '00000000-0000-4000-8000-000000000000', 'source_image_id');
create function pg_temp.inserted(p forged) returns text language sql as $$
  select pg_temp.answer('authenticated', 'aaaaaaaa-0000-4000-8000-000000000001', format(
    'insert into public.images (filename, prompt, user_id, storage_path, generation_id, source_image_id)'
      ' values (''a.png'', ''a picture'', %L, %L, %L, %L)',
    case p.new_column when 'user_id' then p.value else 'aaaaaaaa-0000-4000-8000-000000000001' end,
    case p.new_column when 'storage_path' then p.value else 'aaaaaaaa-0000-4000-8000-000000000001/a.png' end,
    case p.new_column when 'generation_id' then p.value end,
    case p.new_column when 'source_image_id' then p.value end
  ), in_full => true)
$$;
create temporary table callers (role text, sub text);
insert into callers values ('authenticated', 'aaaaaaaa-0000-4000-8000-000000000001'), ('anon', null);
select plan((3 * (
  (select count(*) from refused) * (select count(*) from callers) + (select count(*) from forged)
))::integer);

select ok(
  pg_temp.answer(c.role, c.sub, r.statement) in ('no error', '42501', 'PT403'), r.what || ', ' || c.role
) from refused r, callers c;
select is(pg_temp.inserted(f), 'PT403 not_yours ' || f.field, 'new: ' || left(f.new_column || ' ' || f.value, 60))
from forged f;

\ir ../policies_allow_all.psql
select is(
  pg_temp.answer(c.role, c.sub, r.statement), 'PT403', 'where policies allow all: ' || r.what || ', ' || c.role
) from refused r, callers c;
select is(pg_temp.inserted(f), 'PT403 not_yours ' || f.field, 'where policies allow all, new: ' || left(f.value, 48))
from forged f;

\ir ../triggers_alone.psql
select is(pg_temp.answer(c.role, c.sub, r.statement), 'PT403', 'without policies: ' || r.what || ', ' || c.role)
from refused r, callers c;
select is(pg_temp.inserted(f), 'PT403 not_yours ' || f.field, 'without policies, new: ' || left(f.value, 48))
from forged f;

select * from finish();
rollback;
