begin;
\ir ../setup.psql
select plan(3);

:as_owner;
select results_eq(
  $$ select d ->> 'action', r ->> 'code' from public.cancel_batch('ba7c0000-0000-4000-8000-000000000001') a,
     jsonb_array_elements(a -> 'done') d, jsonb_array_elements(a -> 'refused') r $$,
  $$ values ('cancelled', 'already_completed') $$, 'an answer per item'
);
select results_eq(
  $$ select d ->> 'action' from public.cancel_batch('ba7c0000-0000-4000-8000-000000000001') a,
    jsonb_array_elements(a -> 'done') d $$,
  $$ values ('already_cancelled') $$, 'a second cancel gives the same answer'
);
:as_admin;
select results_eq(
  $$ select status, completed_count, failed_count from public.batch_generations order by name $$,
  $$ values ('partial', 1, 1), ('pending', 0, 0) $$, 'nobody else''s batch is touched'
);

select * from finish();
rollback;
