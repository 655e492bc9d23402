begin;
\ir ../setup.psql
create temporary table wrong (tags text[], message text);
insert into wrong values
  ('{}', 'p_tags has no tags.'), (null, 'p_tags has no tags.'), ('{" "}', 'p_tags has an empty tag.'),
    ('{null}', 'p_tags has an empty tag.'),
  (array[repeat('x', 51)], 'p_tags has a tag of 51 characters; at most 50 are allowed.'),
  (array(select 't' || n from generate_series(1, 21) n), 'p_tags has 21 tags; at most 20 are allowed.');
grant select on wrong to public;
select plan((select count(*) + 2 from wrong)::integer);

:as_owner;
select throws_ok(
  format('select public.tag_batch_images(%L, %L)', 'ba7c0000-0000-4000-8000-000000000001', tags), 'PT422', message,
    coalesce(left(tags::text, 40), 'null')
) from wrong;
select is(
  public.tag_batch_images('ba7c0000-0000-4000-8000-000000000001', '{" Red ",red}') -> 'done' -> 0 -> 'tags',
    '["red"]'::jsonb, 'trimmed, lower case, once'
);
:as_admin;
select is((select count(*)::integer from public.image_tags t join public.tags n on n.id = t.tag_id
  where n.name = 'red'), 1, 'on her picture alone');

select * from finish();
rollback;
