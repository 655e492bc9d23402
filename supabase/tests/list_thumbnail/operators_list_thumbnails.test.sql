begin;
\ir ../setup.psql
create function pg_temp.listing(p_path text, p_thumbnail text) returns text language sql as $$
  select format('select public.list_thumbnail(%L, %L, %L)', i.id, p_path, p_thumbnail)
  from public.images i where i.filename = 'fox.png'
$$;
\set picture 'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png'
\set small 'aaaaaaaa-0000-4000-8000-000000000001/small.webp'
select pg_temp.listing(:'picture', :'small') as listing \gset
select pg_temp.listing(:'picture', 'bbbbbbbb-0000-4000-8000-000000000002/x.webp') as foreign_listing \gset
select pg_temp.listing('another.png', :'small') as other_listing \gset
select plan(8);

:as_anon;
select throws_ok(:'listing', '42501', null, 'anon lists nothing');
:as_owner;
select throws_ok(:'listing', '42501', null, 'a user lists nothing');
:as_service;
select throws_ok(:'foreign_listing', 'PT422', 'p_thumbnail_path is outside the owner''s folder',
  'a thumbnail lies beside its picture');
select results_eq(:'other_listing', 'values (false)', 'a picture that has another file by now gets none');
select results_eq(:'listing', 'values (true)', 'a thumbnail is listed');
select results_eq(:'listing', 'values (false)', 'once');
select results_eq(
  format('select public.list_thumbnail(%L, %L, %L)', gen_random_uuid(), :'picture', :'small'), 'values (false)',
  'a picture that is gone gets none'
);
:as_admin;
select results_eq($$ select thumbnail_path from public.images where filename = 'fox.png' $$,
  format('values (%L)', :'small'), 'the row has it');

select * from finish();
rollback;
