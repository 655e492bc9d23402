begin;
\ir ../setup.psql
select plan(4);

:as_owner;
select public.trash_batch_images('ba7c0000-0000-4000-8000-000000000001');
select isnt((select archived_at from public.images), null, 'the app''s archive hides it');
update public.images set archived_at = null where filename = 'fox.png';
select is(public.get_trash() -> 'entries', '[]'::jsonb, 'taken out of the archive, it is out of the trash');
select public.trash_batch_images('ba7c0000-0000-4000-8000-000000000001');
select is(public.restore_batch_images('ba7c0000-0000-4000-8000-000000000001') #>> '{done,0,action}', 'restored',
  'restored');
:as_admin;
select is_empty($$ select 1 from batchgen.trashed_images $$, 'nothing is left in the trash');

select * from finish();
rollback;
