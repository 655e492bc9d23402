begin;
\ir ../setup.psql
\ir ../policies_alone.psql
insert into public.tags (id, name) values ('7a600000-0000-4000-8000-000000000002', 'birds');
select plan(6);

:as_other;
select lives_ok($$ insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000002', '7a600000-0000-4000-8000-000000000002') $$,
  'a tag on one''s own picture');
select throws_ok($$ insert into public.image_tags (image_id, tag_id)
  values ('1a6e0000-0000-4000-8000-000000000001', '7a600000-0000-4000-8000-000000000002') $$,
  '42501', null, 'not on somebody else''s');
select lives_ok($$ update public.image_tags set added_at = '2000-01-01' $$, 'an update changes nothing');
select lives_ok($$ delete from public.image_tags $$, 'a deletion of all');
:as_anon;
select lives_ok($$ delete from public.image_tags $$, 'a deletion of all by anon');
:as_admin;
select results_eq(
  $$ select image_id, added_at > '2001-01-01' from public.image_tags $$,
    $$ values ('1a6e0000-0000-4000-8000-000000000001'::uuid, true) $$, 'delete their own'
);

select * from finish();
rollback;
