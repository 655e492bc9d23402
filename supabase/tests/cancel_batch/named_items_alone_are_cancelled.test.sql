begin;
\ir ../setup.psql
select plan(5);

:as_owner;
select throws_ok(
  $$ select public.cancel_batch('ba7c0000-0000-4000-8000-000000000001', '{17e30000-0000-4000-8000-000000000003}') $$,
  'PT404', 'p_generation_ids[0] is not an item of this batch.', 'an item of another user'
);
select throws_ok(
  $$ select public.cancel_batch('ba7c0000-0000-4000-8000-000000000001', '{17e30000-0000-4000-8000-00000000ffff}') $$,
  'PT404', 'p_generation_ids[0] is not an item of this batch.', 'gets the same answer as an unknown one'
);
select throws_ok(
  $$ select public.cancel_batch('ba7c0000-0000-4000-8000-000000000001',
    array_fill('17e30000-0000-4000-8000-000000000001'::uuid, '{1001}')) $$,
  'PT422', 'p_generation_ids has 1001 ids; at most 1000 are allowed.', 'the list is bounded'
);
select is(
  public.cancel_batch('ba7c0000-0000-4000-8000-000000000001', '{17e30000-0000-4000-8000-000000000001}') -> 'done',
  '[]'::jsonb, 'the finished item is named alone'
);
:as_admin;
select is(
  (select status from public.image_generations where id = '17e30000-0000-4000-8000-000000000002'), 'pending',
  'the other item still waits'
);

select * from finish();
rollback;
