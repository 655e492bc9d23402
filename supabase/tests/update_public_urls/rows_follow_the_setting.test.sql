begin;
\ir ../setup.psql
delete from public.images;
insert into public.images (id, user_id, filename, storage_path, prompt, public_url)
select ('1a6e0000-0000-4000-8000-00000000000' || n)::uuid, 'aaaaaaaa-0000-4000-8000-000000000001', n || '.png',
  'aaaaaaaa-0000-4000-8000-000000000001/' || n || '.png', 'p', 'https://old.test/' || n
from generate_series(1, 3) n;
insert into public.images (id, user_id, filename, storage_path, prompt) values
  ('1a6e0000-0000-4000-8000-000000000004', 'aaaaaaaa-0000-4000-8000-000000000001', '4',
    'bbbbbbbb-0000-4000-8000-000000000002/foreign.png', 'p'),
  ('1a6e0000-0000-4000-8000-000000000005', 'aaaaaaaa-0000-4000-8000-000000000001', '5',
    'aaaaaaaa-0000-4000-8000-000000000001/a b.png', 'p');
create function pg_temp.urls() returns text language sql as
  $$ select string_agg(coalesce(public_url, '-'), ' ' order by id) from public.images $$;
select plan(13);

:as_anon;
select throws_ok($$ select public.update_public_urls('https://p.test') $$, '42501', null, 'anon changes nothing');
:as_owner;
select throws_ok($$ select public.update_public_urls('https://p.test') $$, '42501', null, 'a user changes nothing');
:as_service;
select throws_ok(format('select public.update_public_urls(%L)', u), 'PT422',
  'p_project_url is not the address of a project', coalesce(u, 'null') || ' is refused')
from unnest('{https://p.test/,p.test,https://p.test?a=b,null}'::text[]) u;
select throws_ok($$ select public.update_public_urls('https://p.test', p_limit => 10001) $$, 'PT422',
  'p_limit is not between 1 and 10000', 'a call is bounded');
select is(public.update_public_urls('https://p.test'), '{"checked": 5, "changed": 0, "last_id": null}'::jsonb,
  'public pictures keep their addresses, and rows without a usable path have none');

:as_admin;
update batchgen.settings set pictures = 'private';
:as_service;
select is(public.update_public_urls('https://p.test', p_limit => 2),
  '{"checked": 2, "changed": 2, "last_id": "1a6e0000-0000-4000-8000-000000000002"}'::jsonb, 'two rows at a time');
select is(public.update_public_urls('https://p.test', '1a6e0000-0000-4000-8000-000000000002'),
  '{"checked": 3, "changed": 1, "last_id": null}'::jsonb, 'then the others');
:as_admin;
select is(pg_temp.urls(), '- - - - -', 'private pictures have no address');
update batchgen.settings set pictures = 'public';
:as_service;
select is(public.update_public_urls('http://127.0.0.1:54321') -> 'changed', '3', 'public ones get it back');
:as_admin;
select is(split_part(pg_temp.urls(), ' ', 1), 'http://127.0.0.1:54321/storage/v1/object/public/generated-images/'
  'aaaaaaaa-0000-4000-8000-000000000001/1.png', 'the one of the project');

select * from finish();
rollback;
