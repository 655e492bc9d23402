begin;
\ir ../setup.psql
\ir ../lease.psql
create function pg_temp.completing(p_lease text, p_result text) returns text language sql as $$
  select format('select public.complete_generation(%L, %L, %L)', '17e30000-0000-4000-8000-000000000002', p_lease,
    p_result)
$$;
\set held '1ea5e000-0000-4000-8000-000000000001'
\set good '{"storage_path": "aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000002.png", "format": "png", "thumbnail_path": "aaaaaaaa-0000-4000-8000-000000000001/small.webp"}'
select plan(13);

:as_anon;
select throws_ok(pg_temp.completing(:'held', :'good'), '42501', null, 'anon ends nothing');
:as_owner;
select throws_ok(pg_temp.completing(:'held', :'good'), '42501', null, 'a user ends nothing');
:as_service;
select throws_ok(pg_temp.completing('1ea5e000-0000-4000-8000-00000000ffff', :'good'), 'PT409', null,
  'another lease ends nothing');
select throws_ok(pg_temp.completing(:'held', '{}'), 'PT422', 'p_result.storage_path is missing',
  'a picture lies somewhere');
select throws_ok(
  pg_temp.completing(:'held', '{"storage_path": "x", "width": "wide"}'), 'PT422',
  'p_result does not fit the table images: invalid input syntax for type integer: "wide"', 'a result fits the table'
);
select throws_ok(
  pg_temp.completing(:'held', '{"storage_path": "bbbbbbbb-0000-4000-8000-000000000002/x.png"}'), 'PT422', null,
    'not in somebody else''s folder'
);
select throws_ok(
  pg_temp.completing(:'held', '{"storage_path": "aaaaaaaa-0000-4000-8000-000000000001/../x.png"}'), 'PT422', null,
    'no path leaves the owner''s folder'
);
select throws_ok(
  pg_temp.completing(:'held', '{"storage_path": "aaaaaaaa-0000-4000-8000-000000000001/x.png",
    "thumbnail_path": "bbbbbbbb-0000-4000-8000-000000000002/x.webp"}'), 'PT422',
  'p_result.thumbnail_path is outside the owner''s folder', 'nor a thumbnail'
);
select lives_ok(pg_temp.completing(:'held', :'good'), 'the lease that is held ends its item');
select throws_ok(pg_temp.completing(:'held', :'good'), 'PT409', null, 'once');
:as_admin;
select results_eq(
  $$ select status, completed_count, failed_count from public.batch_generations where name = 'hers' $$,
  $$ values ('completed', 2, 0) $$, 'the totals are what the items say'
);
select results_eq(
  $$ select user_id, prompt from public.images where generation_id = '17e30000-0000-4000-8000-000000000002' $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001'::uuid, 'a blue bird') $$, 'the picture is the owner''s'
);

select results_eq(
  $$ select thumbnail_path from public.images where generation_id = '17e30000-0000-4000-8000-000000000002' $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/small.webp') $$, 'its thumbnail is listed'
);

select * from finish();
rollback;
