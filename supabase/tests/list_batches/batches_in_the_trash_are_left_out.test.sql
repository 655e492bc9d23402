begin;
\ir ../setup.psql
select plan(4);

:as_admin;
update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000002';
:as_owner;
select results_eq($$ select name from public.list_batches() $$, $$ values ('hers') $$, 'her own');
select public.trash_batch_images('ba7c0000-0000-4000-8000-000000000001');
select is_empty($$ select name from public.list_batches() $$, 'not from the trash');
:as_service;
select results_eq($$ select name from public.list_batches() $$, $$ values ('theirs') $$, 'operators see all others');
:as_anon;
select throws_ok($$ select public.list_batches() $$, '42501', null, 'anon is refused');

select * from finish();
rollback;
