begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
create function pg_temp.setting(p_column text, p_value text) returns text language sql as $$
  select format('update public.images set %I = %L where filename = %L', p_column, p_value, 'fox.png')
$$;
create function pg_temp.address(p_host text, p_path text) returns text language sql as $$
  select format('insert into public.images (user_id, filename, storage_path, prompt, public_url)'
    ' values (%L, %L, %L, %L, %L)',
    'aaaaaaaa-0000-4000-8000-000000000001', 'f', 'aaaaaaaa-0000-4000-8000-000000000001/f.png', 'p', p_host || p_path)
$$;
\set path '''/storage/v1/object/public/generated-images/aaaaaaaa-0000-4000-8000-000000000001/f.png'''
select plan(38);

:as_owner;
select throws_ok(pg_temp.setting(b.name, repeat('x', b.most + 1)), 'PT422', null, b.name || ' is not of any length')
from (values ('filename', 255), ('prompt', 4000), ('negative_prompt', 4000), ('model', 200), ('model_version', 200),
  ('style', 200),
  ('format', 20), ('blurhash', 200)) b (name, most);
select throws_ok(pg_temp.setting(b.name, b.value), 'PT422', null, format('%s is not %s', b.name, b.value))
from (values ('width', '0'), ('width', '100001'), ('height', '0'), ('height', '100001'), ('file_size', '-1'),
  ('file_size', '52428801'),
  ('rating', '-1'), ('rating', '11'), ('download_count', '-1'), ('download_count', '2147483647'),
    ('generation_strength', '-1'),
  ('generation_strength', 'NaN'), ('generation_strength', 'infinity'), ('archived_at', 'infinity')) b (name, value);
select lives_ok(pg_temp.setting(b.name, b.value), format('%s may be %s', b.name, b.value))
from (values ('width', null), ('rating', '10'), ('download_count', '0'), ('archived_at', '2026-01-01')) b (name, value);

select throws_ok(pg_temp.address(u, ''), 'PT422',
  'public_url is not the address of storage_path in this project''s Storage.', u)
from unnest('{javascript:alert(1),https://evil.example/t.gif,data:image/png;base64\,AAAA}'::text[]) u;
select throws_ok(pg_temp.address('http://evil.example', :path), 'PT422', null, 'no http beyond this machine');
select throws_ok(pg_temp.address('https://evil.example@host', :path), 'PT422', null, 'no user before the host');
select throws_ok(pg_temp.address('https://host', replace(:path, 'f.png', 'g.png')), 'PT422', null,
  'the address is not another file''s');
select lives_ok(pg_temp.address('https://host', :path), 'the file''s own address is accepted');
select lives_ok(pg_temp.address('http://127.0.0.1:54321', :path), 'http on this machine is accepted');
set local request.jwt.claims = '{"role": "authenticated", "sub": "aaaaaaaa-0000-4000-8000-000000000001",
  "iss": "https://project.test/auth/v1"}';
select throws_ok(pg_temp.address('https://evil.example', :path), 'PT422', null,
  'a token that says whose project it is allows no other');
select lives_ok(pg_temp.address('https://project.test', :path), 'an address of the token''s own project is accepted');

select throws_ok(
  $$
    insert into public.images (user_id, filename, storage_path, prompt)
    select 'aaaaaaaa-0000-4000-8000-000000000001', 'f', 'aaaaaaaa-0000-4000-8000-000000000001/' || n || '.png', 'p'
    from generate_series(1, 101) n
  $$, 'PT429', 'images: at most 100 rows per request.', 'a hundred rows at once'
);
:as_admin;
insert into public.images (user_id, filename, storage_path, prompt)
select 'aaaaaaaa-0000-4000-8000-000000000001', 'f', 'aaaaaaaa-0000-4000-8000-000000000001/' || n || '.png', 'p'
from generate_series(1, 100000) n;
:as_owner;
select throws_ok(
  $$
    insert into public.images (user_id, filename, storage_path, prompt)
    values ('aaaaaaaa-0000-4000-8000-000000000001', 'f', 'aaaaaaaa-0000-4000-8000-000000000001/more.png', 'p')
  $$, 'PT429', 'images: at most 100000 rows per user.', 'at most a hundred thousand rows in all'
);

select * from finish();
rollback;
