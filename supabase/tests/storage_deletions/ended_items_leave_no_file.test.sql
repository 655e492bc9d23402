begin;
\ir ../setup.psql
\ir ../lease.psql
select plan(7);

select is_empty($$ select 1 from batchgen.storage_deletions $$, 'nothing is looked after to begin with');
update public.image_generations set status = 'failed' where status = 'processing';
select results_eq(
  $$ select substring(path from '[.](.*)$') from batchgen.storage_deletions where due_at > now() + interval '1 minute'
    order by 1 $$,
  $$ values ('jpeg'), ('png'), ('thumb.webp'), ('webp') $$,
    'of an item that ends while it runs: its files, when no worker stores any more'
);

delete from batchgen.storage_deletions;
update public.image_generations set status = 'pending', started_at = null where status = 'failed';
update batchgen.queue set was_run = true;
update public.image_generations set status = 'completed' where batch_id is not null;
select isnt_empty(
  $$ select 1 from batchgen.storage_deletions $$,
    'of one that ends with a picture after an attempt without: the files of that'
);

delete from batchgen.storage_deletions;
update public.images set storage_path = user_id || '/moved.png' where filename = 'fox.png';
select results_eq(
  $$ select path from batchgen.storage_deletions $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png') $$,
  'of a picture that has another file: the old one'
);

delete from batchgen.storage_deletions;
update public.images set thumbnail_path = user_id || '/old.thumb.webp' where filename = 'fox.png';
update public.images set thumbnail_path = user_id || '/new.thumb.webp' where filename = 'fox.png';
select results_eq(
  $$ select path from batchgen.storage_deletions $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/old.thumb.webp') $$,
  'of a picture that has another thumbnail: the old one'
);

delete from batchgen.storage_deletions;
insert into storage.objects (bucket_id, name)
select 'generated-images', user_id || '/' || f.name
from public.images cross join unnest('{moved.png,new.thumb.webp}'::text[]) f (name) where filename = 'fox.png';
delete from public.images where filename = 'fox.png';
select results_eq(
  $$ select path from batchgen.storage_deletions order by path $$,
  $$ values ('aaaaaaaa-0000-4000-8000-000000000001/moved.png'),
    ('aaaaaaaa-0000-4000-8000-000000000001/new.thumb.webp') $$,
  'of a deleted picture: itself and its thumbnail'
);

update public.image_generations set status = 'pending' where id = '17e30000-0000-4000-8000-000000000001';
update batchgen.queue set state = 'running', lease_id = gen_random_uuid(), worker = 'w', started_at = now(),
  lease_expires_at = now() + interval '1 minute' where generation_id = '17e30000-0000-4000-8000-000000000001';
update batchgen.queue set state = 'waiting', lease_id = null, worker = null, started_at = null, lease_expires_at = null
where generation_id = '17e30000-0000-4000-8000-000000000001';
select ok(
  (select was_run from batchgen.queue where generation_id = '17e30000-0000-4000-8000-000000000001'),
  'an attempt that ends without a picture is remembered'
);

select * from finish();
rollback;
