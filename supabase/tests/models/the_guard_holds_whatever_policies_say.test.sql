begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
select plan(9);

:as_anon;
select throws_ok($$ update public.models set default_width = 1 $$, 'PT403', null, 'anon changes no model');
:as_owner;
select throws_ok($$ insert into public.models (name, display_name, replicate_id) values ('m', 'm', 'm') $$, 'PT403',
  null, 'a user adds none');
select throws_ok($$ update public.models set default_width = 1 $$, 'PT403', 'UPDATE on models is not for users.',
  'changes none');
select throws_ok($$ delete from public.models $$, 'PT403', null, 'removes none');
select throws_ok($$ truncate public.models cascade $$, '42501', null, 'and not all');
:as_service;
select lives_ok($$ update public.models set default_width = 512 $$, 'the worker''s role may');
:as_admin;
select lives_ok($$ update public.models set default_width = 1024 $$, 'and so may an admin');
alter table public.models enable row level security;
create policy "all" on public.models for all to public using (true) with check (true);
create role stranger;
grant all on public.models to stranger;
grant usage on schema extensions to stranger;
set local role stranger;
select throws_ok($$ update public.models set default_width = 1 $$, 'PT403', null,
  'any other role that row security holds for may not');
:as_admin;
select is((select max(default_width) from public.models), 1024, 'and none did');

select * from finish();
rollback;
