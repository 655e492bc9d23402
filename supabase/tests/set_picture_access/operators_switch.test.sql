begin;
\ir ../setup.psql
create function pg_temp.bucket() returns boolean language sql as
  $$ select public from storage.buckets where id = 'generated-images' $$;
select plan(17);

:as_anon;
select throws_ok($$ select public.set_picture_access('private') $$, '42501', null, 'anon switches nothing');
:as_owner;
select throws_ok($$ select public.set_picture_access('private') $$, '42501', null, 'a user switches nothing');
:as_service;
select throws_ok($$ select public.set_picture_access('hidden') $$, 'PT422',
  'p_pictures is not public or private', 'there are two ways');
select throws_ok($$ select public.set_picture_access(null) $$, 'PT422', null, 'one of them is named');
select is(public.set_picture_access('private'), '{"pictures": "private", "is_bucket_public": false}'::jsonb,
  'an operator makes pictures private');
:as_admin;
select is((select pictures from batchgen.settings), 'private', 'the setting says so');
select is(pg_temp.bucket(), false, 'the bucket is not public');

\ir ../lease.psql
:as_service;
select lives_ok(
  $$ select public.complete_generation('17e30000-0000-4000-8000-000000000002', '1ea5e000-0000-4000-8000-000000000001',
    '{"storage_path": "aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000002.png",
      "public_url": "https://x.test/a.png"}') $$,
  'a worker completes an item'
);
:as_admin;
select results_eq(
  $$ select public_url from public.images where generation_id = '17e30000-0000-4000-8000-000000000002' $$,
  $$ values (null::text) $$, 'its picture has no public address'
);
:as_owner;
select lives_ok(
  $$ insert into public.images (user_id, filename, storage_path, prompt, public_url) values
    ('aaaaaaaa-0000-4000-8000-000000000001', 'own.png', 'aaaaaaaa-0000-4000-8000-000000000001/own.png', 'p',
     'https://p.test/storage/v1/object/public/generated-images/aaaaaaaa-0000-4000-8000-000000000001/own.png') $$,
  'the app adds a picture of its own'
);
select is((select public_url from public.images where filename = 'own.png'), null, 'which has none, either');

:as_admin;
update storage.buckets set public = true;
:as_service;
select is(public.set_picture_access('private') -> 'is_bucket_public', 'false', 'a repeated call closes the bucket');
select is(public.set_picture_access('public') -> 'is_bucket_public', 'true', 'an operator makes pictures public');
:as_admin;
select is(pg_temp.bucket(), true, 'the bucket is public again');
select is((select public from batchgen.settings s, lateral (select s.pictures = 'public' as public) p), true,
  'and so is the setting');
update batchgen.settings set pictures = 'private';
select is(pg_temp.bucket(), false, 'the bucket follows the setting, whoever changes it');

delete from storage.objects;
delete from storage.buckets;
:as_service;
select is(public.set_picture_access('public') ->> 'is_bucket_public', null, 'a project may have no bucket');

select * from finish();
rollback;
