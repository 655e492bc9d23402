begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
select plan(9);

:as_no_user;
select throws_ok($$ insert into public.tags (name) values ('nobody') $$, 'PT401', null,
  'a token without a user adds nothing');
:as_other;
select throws_ok($$ insert into public.tags (name) values (' birds') $$, 'PT422',
  'A tag must be lower case, without surrounding spaces.', 'a tag has no space around it');
select throws_ok($$ insert into public.tags (name) values ('') $$, 'PT422', null, 'a tag is not empty');
select throws_ok(format('insert into public.tags (name, color) values (%L, %L)', 'birds', repeat('c', 51)), 'PT422',
  null, 'a colour is short');
select lives_ok($$ insert into public.tags (name, created_at) values ('birds', '2000-01-01') $$, 'a user adds a word');
select throws_ok($$ update public.tags set color = 'red' $$, 'PT403', null, 'a user changes no word');
select throws_ok($$ delete from public.tags $$, 'PT403', null, 'a user removes no word');
select throws_ok($$ truncate public.tags cascade $$, 'PT403', 'TRUNCATE on tags is not allowed.',
  'a user does not truncate words');
:as_admin;
select is((select created_at from public.tags where name = 'birds'), now(),
  'created_at comes from the database''s clock');

select * from finish();
rollback;
