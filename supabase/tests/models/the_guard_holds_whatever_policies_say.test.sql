begin;
\ir ../setup.psql
\ir ../triggers_alone.psql
select plan(9);

:as_anon;
select throws_ok($$ update public.models set default_width = 1 $$, 'PT403', null, 'anon changes no model');
:as_owner;
select throws_ok($$ insert into public.models (name, display_name, replicate_id) values ('m', 'm', 'm') $$, 'PT403',
  null, 'a user adds no model');
select throws_ok($$ update public.models set default_width = 1 $$, 'PT403', 'UPDATE on models is not allowed.',
  'a user changes no model');
select throws_ok($$ delete from public.models $$, 'PT403', null, 'a user removes no model');
select throws_ok($$ truncate public.models cascade $$, '42501', null, 'a user truncates nothing');
:as_service;
select lives_ok($$ update public.models set default_width = 512 $$, 'the worker''s role changes a model');
:as_admin;
select lives_ok($$ update public.models set default_width = 1024 $$, 'an admin changes a model');
alter table public.models enable row level security;
create policy "all" on public.models for all to public using (true) with check (true);
create role stranger;
grant all on public.models to stranger;
grant usage on schema extensions to stranger;
set local role stranger;
select throws_ok($$ update public.models set default_width = 1 $$, 'PT403', null,
  'another role under row security changes none');
:as_admin;
select is((select max(default_width) from public.models), 1024, 'no refused change took effect');

select * from finish();
rollback;
