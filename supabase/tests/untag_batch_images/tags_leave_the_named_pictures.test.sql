begin;
\ir ../setup.psql
select plan(4);

:as_owner;
select throws_ok($$ select public.untag_batch_images('ba7c0000-0000-4000-8000-000000000001', '{}') $$, 'PT422',
  'p_tags has no tags.', 'untag needs a tag');
select results_eq(
  $$ select d ->> 'action', r ->> 'code'
     from public.untag_batch_images('ba7c0000-0000-4000-8000-000000000001', '{" Animals "}') a,
       jsonb_array_elements(a -> 'done') d, jsonb_array_elements(a -> 'refused') r $$,
  $$ values ('untagged', 'no_image') $$, 'a result per item'
);
select is(
  public.untag_batch_images('ba7c0000-0000-4000-8000-000000000001', '{animals}',
    '{17e30000-0000-4000-8000-000000000001}') -> 'done' -> 0 ->> 'action', 'already_untagged', 'once'
);
:as_admin;
select results_eq(
  $$ select i.filename from public.image_tags t join public.images i on i.id = t.image_id $$,
  $$ values ('secret.png') $$, 'pictures of others keep the tag'
);

select * from finish();
rollback;
