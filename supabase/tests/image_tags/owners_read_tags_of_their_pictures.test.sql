begin;
\ir ../setup.psql
select plan(5);

:as_owner;
select results_eq(
  $$ select image_id from public.image_tags $$, $$ values ('1a6e0000-0000-4000-8000-000000000001'::uuid) $$,
  'the owner reads which tags her picture carries'
);
:as_other;
select results_eq(
  $$ select image_id from public.image_tags $$, $$ values ('1a6e0000-0000-4000-8000-000000000002'::uuid) $$,
  'somebody else reads those of theirs'
);
:as_no_user;
select is_empty($$ select 1 from public.image_tags $$, 'a token without a user reads nothing');
:as_anon;
select throws_ok($$ select 1 from public.image_tags $$, '42501', null, 'anon is refused');
:as_service;
select is((select count(*)::integer from public.image_tags), 2, 'the worker''s role reads all');

select * from finish();
rollback;
