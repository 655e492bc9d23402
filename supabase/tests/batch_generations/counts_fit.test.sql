begin;
\ir ../setup.psql
select plan(4);

select throws_ok($$ insert into public.batch_generations (total_count, completed_count) values (1, 2) $$, '23514', null,
  'no more completed than there are');
select throws_ok($$ insert into public.batch_generations (total_count, failed_count) values (1, -1) $$, '23514', null,
  'no count is negative');
select throws_ok($$ insert into public.batch_generations (total_count, completed_count) values (1, -1) $$, '23514',
  null, 'no failed count is negative');
select throws_ok($$ insert into public.batch_generations (total_count, status) values (1, 'cancelled') $$, '23514',
  null, 'there are five states');

select * from finish();
rollback;
