begin;
\ir ../setup.psql
select plan(2);

select throws_ok($$ insert into batchgen.batch_ratings (batch_id, stars)
  values ('ba7c0000-0000-4000-8000-000000000001', 6) $$, '23514', null, 'at most five stars');
select throws_ok($$ insert into batchgen.batch_ratings (batch_id, stars, comment)
  values ('ba7c0000-0000-4000-8000-000000000001', 5, repeat('x', 501)) $$, '23514', null, 'a bounded comment');

select * from finish();
rollback;
