begin;
\ir ../setup.psql
select plan(4);

:as_owner;
select throws_ok($$ select public.run_again('ba7c0000-0000-4000-8000-000000000001', null, '[]') $$, 'PT422',
  'p_shared_settings is not an object.', 'settings are an object');
select throws_ok(
  $$ select public.run_again('ba7c0000-0000-4000-8000-000000000001', '{17e30000-0000-4000-8000-000000000001}') $$,
  'PT422', 'A batch has at least 2 prompts; this one would have 1.', 'one item is no batch'
);
select is(
  public.run_again('ba7c0000-0000-4000-8000-000000000001', null, '{"width": 512}') #>> '{batch,total_count}', '2',
  'another width'
);
:as_admin;
update public.image_generations set width = 77 where id = '17e30000-0000-4000-8000-000000000001';
:as_owner;
select throws_ok($$ select public.run_again('ba7c0000-0000-4000-8000-000000000001') $$, 'PT422',
  'The items have different models or settings.', 'items of two sizes');

select * from finish();
rollback;
