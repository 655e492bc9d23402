-- A policy of the app's own on the bucket lets users write what it likes, but drawings, and what workers stored.
begin;
\ir ../setup.psql
insert into storage.buckets (id, name) values ('other-bucket', 'other-bucket');
create policy "the app's" on storage.objects for all to authenticated using (true) with check (true);
insert into storage.objects (bucket_id, name) values
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png'),
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/own.gif'),
  ('other-bucket', 'logo.png');
select plan(9);

:as_owner;
select lives_ok(
  $$ insert into storage.objects (bucket_id, name, metadata) values
     ('generated-images', 'anywhere/notes.txt', null), ('other-bucket', 'logo.svg', '{"mimetype": "image/svg+xml"}') $$,
  'what the app''s policy allows is stored'
);
select throws_ok(
  format('insert into storage.objects (bucket_id, name, metadata) values (%L, %L, %L)', 'generated-images', n.name,
    n.metadata), '42501', null, n.what
)
from (values
  ('anywhere/a.SVG', null, 'no drawing is stored'), ('anywhere/a.svgz', null, 'however it is packed'),
  ('anywhere/a.png', '{"mimetype": "image/svg+xml"}', 'no drawing is stored under another name'),
  ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.webp', null,
    'nothing is stored at the path of a batch''s picture')
) n (name, metadata, what);
select lives_ok(
  $$ update storage.objects set metadata = '{"changed": true}' $$, 'what the app''s policy allows is replaced'
);
:as_admin;
select bag_eq(
  $$ select name from storage.objects where metadata ->> 'changed' = 'true' $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/own.gif'), ('logo.png'), ('logo.svg'), ('anywhere/notes.txt') $$,
  'no picture that a worker stored is replaced'
);
:as_owner;
select throws_ok(
  $$ update storage.objects set name = 'anywhere/a.svg' where name like '%own.gif' $$, '42501', null,
  'nothing becomes a drawing by its name'
);
select throws_ok(
  $$ update storage.objects set metadata = '{"mimetype": "image/svg+xml"}' where name like '%own.gif' $$, '42501', null,
  'nothing becomes a drawing by its content type'
);

select * from finish();
rollback;
