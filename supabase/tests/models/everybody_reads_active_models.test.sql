begin;
\ir ../setup.psql
delete from public.models;
insert into public.models (name, display_name, replicate_id, is_active) values
  ('offered', 'Offered', 'one/offered', true), ('withdrawn', 'Withdrawn', 'one/withdrawn', false);
select plan(3);

:as_anon;
select results_eq($$ select name from public.models $$, $$ values ('offered') $$, 'anon reads the active ones');
:as_owner;
select results_eq($$ select name from public.models $$, $$ values ('offered') $$, 'a user reads the active ones');
:as_service;
select is((select count(*)::integer from public.models), 2, 'the worker''s role reads all');

select * from finish();
rollback;
