begin;
\ir ../setup.psql
select plan(3);

:as_owner;
select throws_ok($$ select public.rate_batch_images('ba7c0000-0000-4000-8000-000000000001', 0) $$, 'PT422',
  'p_rating is out of range: it must be from 1 to 5.', 'at least one star');
select is(
  public.rate_batch_images('ba7c0000-0000-4000-8000-000000000001', 5) -> 'done' -> 0 ->> 'action', 'rated', 'rated'
);
:as_admin;
select results_eq($$ select filename from public.images where rating = 5 $$, $$ values ('fox.png') $$,
  'her picture alone');

select * from finish();
rollback;
