begin;
\ir ../setup.psql
create temporary table saved (id uuid);
grant all on saved to public;
create function pg_temp.id() returns uuid language sql as $$ select id from saved $$;
select plan(5);

:as_owner;
insert into saved select (public.save_batch_template(
  '{"name": "zoo", "request": {"prompts": [{"text": "a {{animal}}"}, {"text": "b"}]}}')
  #>> '{template,id}')::uuid;
:as_anon;
select throws_ok($$ select public.get_batch_template(pg_temp.id()) $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.get_batch_template(pg_temp.id()) $$, 'PT401', null,
  'a token without a user is told to sign in');
:as_other;
select throws_ok($$ select public.get_batch_template(pg_temp.id()) $$, 'PT404', null,
  'another user learns nothing');
:as_owner;
select is(public.get_batch_template(pg_temp.id()) #>> '{template,name}', 'zoo', 'its owner does it');
select throws_ok($$ select public.get_batch_template(gen_random_uuid()) $$, 'PT404', null,
  'of a template that exists');

select * from finish();
rollback;
