begin;
\ir ../setup.psql
insert into storage.objects (bucket_id, name) values
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png'),
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.webp'),
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.thumb.webp'),
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.0123.png'),
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000002.png');
update public.images set thumbnail_path = user_id || '/17e30000-0000-4000-8000-000000000001.thumb.webp'
where generation_id = '17e30000-0000-4000-8000-000000000001';
select plan(11);

:as_anon;
select throws_ok($$ select public.discard_files(gen_random_uuid(), gen_random_uuid(), 0) $$, '42501', null,
  'anon discards nothing');
:as_owner;
select throws_ok($$ select public.discard_files(gen_random_uuid(), gen_random_uuid(), 0) $$, '42501', null,
  'a user discards nothing');
:as_service;
select throws_ok(
  $$ select public.discard_files(null, gen_random_uuid(), 0) $$, 'PT422', 'p_generation_id or p_user_id is empty',
    'the item and the user are required'
);
select throws_ok(
  $$ select public.discard_files(gen_random_uuid(), gen_random_uuid(), 86401) $$, 'PT422',
  'p_seconds is not between 0 and 86400', 'the time is within a day'
);
select throws_ok(
  $$ select public.discard_files('aaaaaaaa-0000-4000-8000-000000000001', gen_random_uuid(), 0,
    '{bbbbbbbb-0000-4000-8000-000000000002/a.png}') $$, 'PT422',
  'p_paths has more than 10 paths, or one outside the owner''s folder', 'a file lies in the owner''s folder'
);
select throws_ok(
  $$ select public.discard_files('aaaaaaaa-0000-4000-8000-000000000001', gen_random_uuid(), 0,
    array(select 'aaaaaaaa-0000-4000-8000-000000000001/' || n from generate_series(1, 11) n)) $$, 'PT422',
  'p_paths has more than 10 paths, or one outside the owner''s folder', 'and there are few of them'
);
select lives_ok(
  $$
    select public.discard_files('aaaaaaaa-0000-4000-8000-000000000001',
      ('17e30000-0000-4000-8000-00000000000' || n)::uuid, 0)
    from generate_series(1, 2) n
  $$, 'a worker discards what it stored for two items'
);
select results_eq(
  $$ select path from public.take_storage_deletions('w', 10, 60) $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.webp') $$,
  'a file without a row goes; a picture, its thumbnail, a queued item''s file stay'
);
select lives_ok(
  $$ select public.discard_files('aaaaaaaa-0000-4000-8000-000000000001', '17e30000-0000-4000-8000-000000000001', 0,
    '{aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.0123.png}') $$,
  'a worker announces a file of another name'
);
select results_eq(
  $$ select path from public.take_storage_deletions('w', 10, 60) $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.0123.png') $$,
  'it goes, too, unless a row names it'
);
:as_admin;
select results_eq(
  $$ select distinct generation_id from batchgen.storage_deletions order by 1 $$,
  $$ values ('17e30000-0000-4000-8000-000000000001'::uuid), ('17e30000-0000-4000-8000-000000000002') $$,
  'the queued item''s file is checked when that item has ended'
);

select * from finish();
rollback;
