begin;
\ir ../setup.psql
\ir ../policies_alone.psql
select plan(7);

:as_other;
select lives_ok($$ insert into public.tags (name) values ('birds') $$, 'a user adds a word');
select throws_ok($$ insert into public.tags (name) values ('Birds') $$, '42501', null, 'a word is in lower case');
select lives_ok($$ update public.tags set color = 'red'; delete from public.tags $$,
  'a user changes or removes no word');
:as_no_user;
select throws_ok($$ insert into public.tags (name) values ('nobody') $$, '42501', null,
  'a token without a user adds nothing');
:as_anon;
select throws_ok($$ insert into public.tags (name) values ('anon') $$, '42501', null, 'anon adds nothing');
:as_admin;
select results_eq($$ select name, color from public.tags order by name $$,
  $$ values ('animals', null), ('birds', null) $$, 'no word was changed or removed');

update public.tags set created_by = 'bbbbbbbb-0000-4000-8000-000000000002' where name = 'birds';
:as_other;
delete from public.tags;
:as_admin;
select results_eq($$ select name from public.tags $$, $$ values ('animals') $$, 'whoever made a word removes it');

select * from finish();
rollback;
