begin;
\ir ../setup.psql
-- The names of two of her items, in somebody else's folder; one is leased just now. And that of the other one in hers.
insert into batchgen.storage_deletions (path, lease_id, lease_expires_at, worker) values
  ('bbbbbbbb-0000-4000-8000-000000000002/17e30000-0000-4000-8000-000000000001.png',
    '1ea5e000-0000-4000-8000-000000000002', now() + interval '1 hour', 'w'),
  ('bbbbbbbb-0000-4000-8000-000000000002/17e30000-0000-4000-8000-000000000002.png', null, null, null),
  ('aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000002.png', null, null, null);
insert into storage.objects (bucket_id, name)
select 'generated-images', d.path from batchgen.storage_deletions d
union all values ('generated-images', 'bbbbbbbb-0000-4000-8000-000000000002/more.png');
select plan(3);

update public.image_generations set status = 'pending' where id = '17e30000-0000-4000-8000-000000000001';
select results_eq(
  $$ select state::text, due_at <= clock_timestamp() from batchgen.queue
    where generation_id = '17e30000-0000-4000-8000-000000000001' $$,
  $$ values ('waiting', true) $$, 'an item does not wait for what others delete'
);
update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000002';
insert into batchgen.storage_deletions (path) values ('bbbbbbbb-0000-4000-8000-000000000002/more.png');
update public.image_generations set status = 'pending' where id = '17e30000-0000-4000-8000-000000000002';
:as_service;
select bag_eq(
  $$ select path from public.take_storage_deletions('w', 10, 60) $$,
  $$ values ('bbbbbbbb-0000-4000-8000-000000000002/17e30000-0000-4000-8000-000000000002.png'),
    ('bbbbbbbb-0000-4000-8000-000000000002/more.png') $$,
  'while it waits its folder''s alone is held back'
);
:as_admin;
select is(
  (select count(*)::integer from batchgen.storage_deletions where lease_id is null), 1,
  'the held path stays in the outbox'
);

select * from finish();
rollback;
