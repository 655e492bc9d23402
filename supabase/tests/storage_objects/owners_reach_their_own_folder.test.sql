begin;
\ir ../setup.psql
insert into storage.buckets (id, name) values ('other-bucket', 'other-bucket');
insert into storage.objects (bucket_id, name) values
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/fox.png'),
  ('generated-images', 'bbbbbbbb-0000-4000-8000-000000000002/secret.png'),
  ('other-bucket', 'aaaaaaaa-0000-4000-8000-000000000001/elsewhere.png');
select plan(21);

:as_owner;
select results_eq(
  $$ select name from storage.objects $$, $$ values ('aaaaaaaa-0000-4000-8000-000000000001/fox.png') $$,
  'an owner lists her folder of our bucket, and nothing else'
);
select lives_ok(
  $$ insert into storage.objects (bucket_id, name)
    values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/new.png') $$,
  'an owner stores in her folder'
);
select throws_ok(
  $$ insert into storage.objects (bucket_id, name)
    values ('generated-images', 'bbbbbbbb-0000-4000-8000-000000000002/new.png') $$,
  '42501', null, 'nobody stores in somebody else''s folder'
);
select throws_ok(
  $$ insert into storage.objects (bucket_id, name) values ('generated-images', 'new.png') $$, '42501', null,
    'nobody stores outside a folder'
);
select throws_ok(
  $$ insert into storage.objects (bucket_id, name)
    values ('other-bucket', 'aaaaaaaa-0000-4000-8000-000000000001/new.png') $$,
  '42501', null, 'our policies allow no other bucket'
);
-- Without a condition and without RETURNING a statement needs no SELECT policy: each policy stands alone.
select lives_ok($$ update storage.objects set metadata = '{"changed": true}' $$, 'an owner replaces pictures');
:as_admin;
select bag_eq(
  $$ select name from storage.objects where metadata is not null $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/fox.png'), ('aaaaaaaa-0000-4000-8000-000000000001/new.png') $$,
  'an owner replaces her own pictures alone'
);
delete from storage.objects where name like '%/new.png';
:as_owner;
select throws_ok(
  $$ update storage.objects set name = 'bbbbbbbb-0000-4000-8000-000000000002/fox.png' $$,
  '42501', null, 'nobody moves a picture into somebody else''s folder'
);
:as_other;
select lives_ok($$ delete from storage.objects $$, 'somebody else removes pictures');
:as_admin;
select bag_eq(
  $$ select name from storage.objects $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/fox.png'), ('aaaaaaaa-0000-4000-8000-000000000001/elsewhere.png') $$,
  'everybody removes their own pictures alone'
);

-- Her folder, but not all that lies there, nor of every kind.
insert into storage.objects (bucket_id, name)
values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png');
:as_owner;
select throws_ok(
  format('insert into storage.objects (bucket_id, name, metadata) values (%L, %L, %L)', 'generated-images',
    'aaaaaaaa-0000-4000-8000-000000000001/' || n.name, n.metadata), '42501', null, n.what
)
from (values
  ('17e30000-0000-4000-8000-000000000002.webp', '{}', 'nobody stores at the path of a batch''s picture'),
  ('drawing.svg', '{}', 'an owner stores no drawing'), ('drawing', '{}', 'whatever it is called')
) n (name, metadata, what);
select is_empty(
  $$ update storage.objects set metadata = '{"changed": 2}' where name like '%/17e30000%' returning 1 $$,
    'nobody replaces a picture that a worker stored'
);
select throws_ok(
  format('insert into storage.objects (bucket_id, name, metadata, owner) values (%L, %L, %L, %L)', 'generated-images',
    'aaaaaaaa-0000-4000-8000-000000000001/a.png', '{"mimetype": "image/svg+xml"}',
      'aaaaaaaa-0000-4000-8000-000000000001'),
  '42501', null, 'no drawing is stored under another name'
);
select lives_ok(
  $$ insert into storage.objects (bucket_id, name)
    values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000004.png') $$,
  'the picture of a single generation is the app''s'
);
:as_service;
reset role;
select lives_ok(
  $$ insert into storage.objects (bucket_id, name, metadata)
     values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/w.svg', '{"mimetype": "image/svg+xml"}') $$,
  'a worker stores drawings'
);
:as_anon;
select is_empty($$ select 1 from storage.objects $$, 'anon lists nothing');
select throws_ok(
  $$ insert into storage.objects (bucket_id, name)
    values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/anon.png') $$,
  '42501', null, 'anon stores nothing'
);
select is_empty($$ update storage.objects set metadata = '{}' returning 1 $$, 'anon replaces nothing');
select is_empty($$ delete from storage.objects returning 1 $$, 'anon removes nothing');

select * from finish();
rollback;
