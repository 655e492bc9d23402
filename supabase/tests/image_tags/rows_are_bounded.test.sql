begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
insert into public.tags (name) select 't' || n from generate_series(1, 250) n;
select plan(3);

:as_owner;
select throws_ok(
  $$ insert into public.image_tags (image_id, tag_id) select '1a6e0000-0000-4000-8000-000000000001', id from public.tags
    where name like 't%' limit 50 $$,
  'PT429', 'image_tags: at most 50 tags per picture.', 'a picture has 50 tags at most'
);
select lives_ok(
  $$ insert into public.image_tags (image_id, tag_id) select '1a6e0000-0000-4000-8000-000000000001', id from public.tags
    where name like 't%' limit 49 $$,
  'that many are fine'
);
insert into public.images (user_id, filename, storage_path, prompt)
select 'aaaaaaaa-0000-4000-8000-000000000001', 'f', 'aaaaaaaa-0000-4000-8000-000000000001/' || n || '.png', 'p'
  from generate_series(1, 5) n;
select throws_ok(
  $$ insert into public.image_tags (image_id, tag_id) select i.id, t.id
     from public.images i, (select id from public.tags where name like 't%' limit 41) t where i.filename = 'f' $$,
  'PT429', 'image_tags: at most 200 rows per request.', '200 tags are put on at once'
);

select * from finish();
rollback;
