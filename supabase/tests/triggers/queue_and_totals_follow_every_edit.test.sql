-- An admin edits rows in the dashboard; queue, totals and ready marks are as if a function of ours had done it.
begin;
\ir ../setup.psql
create function pg_temp.totals() returns text language sql as $$
  select format('%s %s/%s+%s', status, completed_count, total_count, failed_count) from public.batch_generations
    where name = 'hers'
$$;
select plan(12);

select is(pg_temp.totals(), 'processing 1/2+0', 'inserted items are counted');
select bag_eq(
  $$ select generation_id from batchgen.queue $$,
  $$ values ('17e30000-0000-4000-8000-000000000002'::uuid), ('17e30000-0000-4000-8000-000000000003'::uuid) $$,
  'pending items of a batch are queued'
);
update public.batch_generations set completed_count = 2, failed_count = 0, status = 'completed', completed_at = now()
  where name = 'hers';
select is(pg_temp.totals(), 'processing 1/2+0', 'totals are what the items say, whatever is written');
update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000002';
select is(pg_temp.totals(), 'partial 1/2+1', 'an item that is set to failed ends');
select is_empty($$ select from batchgen.queue where generation_id = '17e30000-0000-4000-8000-000000000002' $$,
  'an item that is set to failed leaves the queue');
update public.image_generations set status = 'pending' where id = '17e30000-0000-4000-8000-000000000002';
select is(pg_temp.totals(), 'processing 1/2+0', 'an item that is set to pending begins again');
select isnt_empty($$ select from batchgen.queue where generation_id = '17e30000-0000-4000-8000-000000000002' $$,
  'an item that is set to pending is queued');
update public.image_generations set priority = 7 where id = '17e30000-0000-4000-8000-000000000002';
select is((select priority from batchgen.queue where generation_id = '17e30000-0000-4000-8000-000000000002'), 7,
  'a changed priority counts in the queue');
delete from public.image_generations where id = '17e30000-0000-4000-8000-000000000002';
select is(pg_temp.totals(), 'completed 1/2+0', 'a deleted item counts no more');
delete from public.batch_generations where name = 'theirs';
select results_eq(
  $$ select status, error_message from public.image_generations where prompt = 'their secret' $$,
  $$ values ('failed', 'The batch was deleted.') $$, 'the items of a deleted batch end'
);
delete from batchgen.touched;
insert into public.image_generations (user_id, prompt, status, batch_id, batch_index) values
  ('aaaaaaaa-0000-4000-8000-000000000001', 'waits', 'pending', 'ba7c0000-0000-4000-8000-000000000001', 2);
delete from batchgen.touched;
update batchgen.settings set max_parallel_per_user = 5;
select results_eq(
  $$ select user_id from batchgen.touched $$, $$ values ('aaaaaaaa-0000-4000-8000-000000000001'::uuid) $$,
  'a changed limit makes the next claim look at everybody who waits'
);
delete from batchgen.touched;
update batchgen.settings set max_retries = 5;
select is_empty($$ select from batchgen.touched $$, 'another setting does not');

select * from finish();
rollback;
