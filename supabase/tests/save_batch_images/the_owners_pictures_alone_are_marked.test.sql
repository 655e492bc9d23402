begin;
\ir ../setup.psql
select plan(3);

:as_owner;
select is(public.save_batch_images('ba7c0000-0000-4000-8000-000000000001') -> 'done' -> 0 ->> 'action', 'saved',
  'a picture is saved');
select is(public.save_batch_images('ba7c0000-0000-4000-8000-000000000001') -> 'done' -> 0 ->> 'action', 'already_saved',
  'once');
:as_admin;
select results_eq($$ select filename from public.images where saved_at is not null $$, $$ values ('fox.png') $$,
  'no other is');

select * from finish();
rollback;
