begin;
\ir ../setup.psql
insert into storage.buckets (id, name) values ('other-bucket', 'other-bucket');
insert into storage.objects (bucket_id, name) values
  ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/fox.png'),
  ('generated-images', 'bbbbbbbb-0000-4000-8000-000000000002/secret.png'),
  ('other-bucket', 'aaaaaaaa-0000-4000-8000-000000000001/elsewhere.png');
select plan(13);

:as_owner;
select results_eq(
  $$ select name from storage.objects $$, $$ values ('aaaaaaaa-0000-4000-8000-000000000001/fox.png') $$,
  'an owner lists her folder of our bucket, and nothing else'
);
select lives_ok(
  $$ insert into storage.objects (bucket_id, name) values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/new.png') $$,
  'an owner stores in her folder'
);
select throws_ok(
  $$ insert into storage.objects (bucket_id, name) values ('generated-images', 'bbbbbbbb-0000-4000-8000-000000000002/new.png') $$,
  '42501', null, 'and not in somebody else''s'
);
select throws_ok(
  $$ insert into storage.objects (bucket_id, name) values ('generated-images', 'new.png') $$, '42501', null, 'nor in none'
);
select throws_ok(
  $$ insert into storage.objects (bucket_id, name) values ('other-bucket', 'aaaaaaaa-0000-4000-8000-000000000001/new.png') $$,
  '42501', null, 'nor, by our policies, in another bucket'
);
select results_eq(
  $$ with changed as (update storage.objects set metadata = '{}' returning name) select name from changed order by name $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/fox.png'), ('aaaaaaaa-0000-4000-8000-000000000001/new.png') $$,
  'an owner replaces her pictures alone'
);
select throws_ok(
  $$ update storage.objects set name = 'bbbbbbbb-0000-4000-8000-000000000002/fox.png' where name like '%/fox.png' $$,
  '42501', null, 'and does not move one into somebody else''s folder'
);
:as_other;
select is_empty(
  $$ delete from storage.objects where name like 'aaaaaaaa%' returning 1 $$, 'somebody else removes none of hers'
);
:as_owner;
select results_eq(
  $$ with gone as (delete from storage.objects returning name) select count(*)::integer from gone $$, $$ values (2) $$,
  'an owner removes her pictures alone'
);
:as_anon;
select is_empty($$ select 1 from storage.objects $$, 'anon lists nothing');
select throws_ok(
  $$ insert into storage.objects (bucket_id, name) values ('generated-images', 'aaaaaaaa-0000-4000-8000-000000000001/anon.png') $$,
  '42501', null, 'anon stores nothing'
);
select is_empty($$ update storage.objects set metadata = '{}' returning 1 $$, 'anon replaces nothing');
select is_empty($$ delete from storage.objects returning 1 $$, 'anon removes nothing');

select * from finish();
rollback;
