begin;
\ir ../setup.psql
select plan(6);

:as_owner;
select throws_ok($$ select public.generate_similar('ba7c0000-0000-4000-8000-000000000001', null, 1) $$, 'PT422',
  'A batch has at least 2 prompts; this one would have 1.', 'too few');
select throws_ok($$ select public.generate_similar('ba7c0000-0000-4000-8000-000000000001', null, 11) $$, 'PT422',
  'p_count is out of range: it must be from 1 to 10.', 'out of range');
select throws_ok(
  $$ select public.generate_similar('ba7c0000-0000-4000-8000-000000000001',
    '{17e30000-0000-4000-8000-000000000002}') $$,
  'PT422', 'p_generation_ids names items without a picture.', 'an item without a picture'
);
:as_admin;
insert into public.user_rate_limits (user_id, max_batch_size) values ('aaaaaaaa-0000-4000-8000-000000000001', 3)
on conflict (user_id) do update set max_batch_size = 3;
:as_owner;
select throws_ok($$ select public.generate_similar('ba7c0000-0000-4000-8000-000000000001', null, 4) $$, 'PT422',
  'A batch has at most 3 prompts; this one would have 4.', 'too many for her');
select is(
  public.generate_similar('ba7c0000-0000-4000-8000-000000000001', null, 3) #>> '{batch,total_count}', '3',
  'as many as asked'
);
:as_admin;
delete from public.images where filename = 'fox.png';
:as_owner;
select throws_ok($$ select public.generate_similar('ba7c0000-0000-4000-8000-000000000001') $$, 'PT422',
  'The batch has no pictures.', 'nothing to be similar to');

select * from finish();
rollback;
