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
select throws_ok($$ select public.publish_batch_template(pg_temp.id(), true) $$, '42501', null,
  'its owner does not');
:as_anon;
select throws_ok($$ select public.publish_batch_template(pg_temp.id(), true) $$, '42501', null, 'nor anon');
:as_service;
select throws_ok($$ select public.publish_batch_template(gen_random_uuid(), true) $$, 'PT404', null,
  'a template that exists');
select is(public.publish_batch_template(pg_temp.id(), true) #>> '{template,is_public}', 'true',
  'an operator publishes it');
:as_other;
select is(public.get_batch_template(pg_temp.id()) #>> '{template,name}', 'zoo', 'then everybody reads it');

select * from finish();
rollback;
