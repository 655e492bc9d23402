begin;
\ir ../setup.psql
update public.image_generations set status = 'failed', width = 100, height = 100, steps = 10
where id = '17e30000-0000-4000-8000-000000000002';
insert into public.models (id, name, display_name, replicate_id, min_width, max_steps) values
  ('30de1000-0000-4000-8000-000000000001', 'wide', 'Wide', 'a/wide', 200, null),
  ('30de1000-0000-4000-8000-000000000002', 'short', 'Short', 'a/short', null, 5);
insert into public.models (id, name, display_name, replicate_id, min_height) values
  ('30de1000-0000-4000-8000-000000000003', 'high', 'High', 'a/high', 200);
create temporary table wrong (edits jsonb, sqlstate text, message text);
insert into wrong values
  ('{}', 'PT422', 'p_edits is not a list.'),
  ((select jsonb_agg('{}'::jsonb) from generate_series(1, 1001)), 'PT422',
    'p_edits has 1001 entries; at most 1000 are allowed.'),
  ('[1]', 'PT422', 'p_edits[0] is not an object.'),
  ('[{"text": "x"}]', 'PT422', null),
  ('[{"generation_id": "17e30000-0000-4000-8000-000000000003"}]', 'PT404',
    'p_edits[0].generation_id is not an item of this batch.'),
  ('[{"generation_id": "17e30000-0000-4000-8000-000000000002", "prompt": " "}]', 'PT422',
    'p_edits[0].prompt is empty.'),
  ('[{"generation_id": "17e30000-0000-4000-8000-000000000002"}, {"generation_id":
    "17e30000-0000-4000-8000-000000000002"}]', 'PT422', 'p_edits[1] is for an item that has an edit already.'),
  ('[{"generation_id": "17e30000-0000-4000-8000-000000000001"}]', 'PT422',
    'p_edits[0] is for an item that p_generation_ids does not name.'),
  ('[{"generation_id": "17e30000-0000-4000-8000-000000000002", "model_id": "a/wide"}]', 'PT422',
    'p_edits[0].model_id takes width from 200 to 4096; the item has 100.'),
  ('[{"generation_id": "17e30000-0000-4000-8000-000000000002", "model_id": "a/high"}]', 'PT422',
    'p_edits[0].model_id takes height from 200 to 4096; the item has 100.'),
  ('[{"generation_id": "17e30000-0000-4000-8000-000000000002", "model_id": "a/short"}]', 'PT422',
    'p_edits[0].model_id takes steps from 1 to 5; the item has 10.');
grant select on wrong to public;
select plan((select count(*) + 1 from wrong)::integer);

:as_owner;
select throws_ok(
  format('select public.retry_failed(%L, %L, %L)', 'ba7c0000-0000-4000-8000-000000000001',
    '{17e30000-0000-4000-8000-000000000002}', edits), sqlstate, message, left(edits::text, 60)
) from wrong;
select is(
  public.retry_failed('ba7c0000-0000-4000-8000-000000000001', null,
    '[{"generation_id": "17e30000-0000-4000-8000-000000000002", "prompt": "a green bird"}]') #> '{done,0,edited}',
  '["prompt"]'::jsonb, 'a valid edit is applied'
);

select * from finish();
rollback;
