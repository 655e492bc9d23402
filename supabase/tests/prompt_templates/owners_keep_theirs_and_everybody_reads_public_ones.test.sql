begin;
\ir ../setup.psql
alter table public.prompt_templates disable trigger user;
insert into public.prompt_templates (name, prompt, user_id, is_public) values
  ('hers', 'p', 'aaaaaaaa-0000-4000-8000-000000000001', false),
    ('shared', 'p', 'aaaaaaaa-0000-4000-8000-000000000001', true),
  ('theirs', 'p', 'bbbbbbbb-0000-4000-8000-000000000002', false);
select plan(13);

:as_owner;
select bag_eq($$ select name from public.prompt_templates $$, $$ values ('hers'), ('shared') $$,
  'an owner reads her own');
:as_other;
select bag_eq($$ select name from public.prompt_templates $$, $$ values ('theirs'), ('shared') $$,
  'somebody else the public ones and theirs');
:as_anon;
select throws_ok($$ select 1 from public.prompt_templates $$, '42501', null, 'anon is refused');
:as_service;
select is((select count(*)::integer from public.prompt_templates), 3, 'the worker''s role reads all');
:as_other;
select throws_ok($$ insert into public.prompt_templates (name, prompt, user_id)
  values ('n', 'p', 'aaaaaaaa-0000-4000-8000-000000000001') $$, '42501', null, 'nobody adds in another''s name');
select lives_ok($$ insert into public.prompt_templates (name, prompt, user_id)
  values ('n', 'p', 'bbbbbbbb-0000-4000-8000-000000000002') $$, 'everybody adds their own');
select lives_ok($$ update public.prompt_templates set category = 'changed' $$, 'an update of all');
select throws_ok($$ update public.prompt_templates set user_id = 'aaaaaaaa-0000-4000-8000-000000000001' $$, '42501',
  null, 'nobody gives a template away');
:as_admin;
select bag_eq($$ select name from public.prompt_templates where category = 'changed' $$, $$ values ('theirs'), ('n') $$,
  'an update of all changes the caller''s own templates');
:as_other;
select lives_ok($$ delete from public.prompt_templates $$, 'a deletion of all');
:as_admin;
select bag_eq($$ select name from public.prompt_templates $$, $$ values ('hers'), ('shared') $$, 'deletes their own');
:as_service;
select throws_ok($$ truncate public.prompt_templates $$, '42501', null, 'nobody truncates');
:as_anon;
select throws_ok($$ delete from public.prompt_templates $$, '42501', null, 'anon deletes nothing');

select * from finish();
rollback;
