begin;
\ir ../setup.psql
select plan(2);

:as_service;
select throws_ok($$ insert into public.tags (name) values ('Animals') $$, '23514', null, 'capitals are refused');
select throws_ok($$ insert into public.tags (name) values ('animals') $$, '23505', null,
  'a second one is refused: the app counts on 23505');

select * from finish();
rollback;
