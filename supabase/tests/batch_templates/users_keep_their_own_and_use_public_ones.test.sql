begin;
\ir ../setup.psql
create function pg_temp.save(p_name text, p_more jsonb default '{}') returns jsonb language sql as $$
  select public.save_batch_template(jsonb_build_object('name', p_name) || coalesce(nullif(p_more, '{}'),
    '{"request": {"prompts": [{"text": "a {{animal}}"}, {"text": "b"}], "client_key": "k"}}'))
$$;
create function pg_temp.id(p_name text) returns uuid language sql security definer as $$
  select t.id from batchgen.batch_templates t where t.name = p_name
$$;
select plan(35);

:as_owner;
select is(pg_temp.save('zoo') -> 'template' -> 'request',
  '{"prompts": [{"text": "a {{animal}}"}, {"text": "b"}]}', 'the request is kept, without its client_key');
select is(pg_temp.save('zoo') -> 'template' ->> 'id', pg_temp.id('zoo')::text, 'saved again, it is the same template');
select throws_ok($$ select pg_temp.save('zoo', '{"request": {"prompts": [{"text": "c"}]}}') $$, 'PT409',
  'There is another template named zoo.', 'another request under this name');
select is(pg_temp.save('zoo', '{"request": {"prompts": [{"text": "a {{animal}} {{style}}"}, {"text": "b"}]},
  "defaults": {"style": "oil"}, "replace": true}') -> 'template' -> 'placeholders',
  '[{"name": "animal", "default": null, "in_settings": false},
    {"name": "style", "default": "oil", "in_settings": false}]', 'replaces it if asked');
select is(jsonb_array_length(public.list_batch_templates() -> 'templates'), 1, 'the list');
select is(public.get_batch_template(pg_temp.id('zoo')) -> 'template' -> 'is_own', 'true', 'one of them');
select is(
  public.create_batch(jsonb_build_object('template', jsonb_build_object('id', pg_temp.id('zoo'),
    'values', '{"animal": "fox"}'::jsonb))) -> 'batch' -> 'generations' -> 0 ->> 'prompt', 'a fox oil',
  'a batch from it'
);
select is(
  (select count(*) from jsonb_array_elements(public.create_batch(jsonb_build_object('template',
    jsonb_build_object('id', pg_temp.id('zoo'), 'rows', '[{"animal": "fox"}, {"animal": "owl"}]'::jsonb)))
    -> 'batch' -> 'generations')), 4::bigint, 'its prompts once for each row'
);
select throws_ok($$ select public.publish_batch_template(pg_temp.id('zoo'), true) $$, '42501', null,
  'users publish nothing');
select is(pg_temp.save('kept', jsonb_build_object('batch_id', 'ba7c0000-0000-4000-8000-000000000001'))
  -> 'template' -> 'is_own', 'true', 'a batch as a template');

:as_other;
select is(public.list_batch_templates(), '{"templates": []}', 'others do not see it');
select throws_ok(format(q.sql, pg_temp.id('zoo')), 'PT404', 'Template not found, or it is another user''s.',
  left(q.sql, 60))
from (values
  ('select public.get_batch_template(%L)'), ('select public.rename_batch_template(%L, ''mine'')'),
  ('select public.delete_batch_template(%L)'),
  ('select public.create_batch(''{"template": {"id": "%s", "values": {"animal": "a"}}}'')')
) q (sql);
select throws_ok($$ select public.get_batch_template(gen_random_uuid()) $$, 'PT404',
  'Template not found, or it is another user''s.', 'the same answer as for an unknown id');
select throws_ok($$ select pg_temp.save('stolen', '{"batch_id": "ba7c0000-0000-4000-8000-000000000001"}') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'nor save somebody else''s batch');
select throws_ok($$ select public.list_batch_templates('aaaaaaaa-0000-4000-8000-000000000001') $$, 'PT404',
  'User not found, or it is not you.', 'nor act for somebody else');
:as_no_user;
select throws_ok($$ select public.list_batch_templates() $$, 'PT401', 'You are not signed in.', 'without a user');
:as_anon;
select throws_ok($$ select public.list_batch_templates() $$, '42501', null, 'anon');

:as_service;
select is(public.publish_batch_template(pg_temp.id('zoo'), true) -> 'template' -> 'is_public', 'true',
  'an operator publishes it');
:as_other;
select is(public.list_batch_templates() -> 'templates' -> 0 ->> 'name', 'zoo', 'then everybody sees it');
select is(public.get_batch_template(pg_temp.id('zoo')) -> 'template' -> 'is_own', 'false', 'as somebody else''s');
select lives_ok($$ select public.create_batch(jsonb_build_object('template', jsonb_build_object('id',
  pg_temp.id('zoo'), 'values', '{"animal": "fox"}'::jsonb))) $$, 'and uses it');
select throws_ok($$ select public.delete_batch_template(pg_temp.id('zoo')) $$, 'PT404', null, 'but does not change it');
select is(pg_temp.save('zoo') -> 'template' -> 'is_own', 'true', 'the name is free for a template of their own');

:as_owner;
select is(public.rename_batch_template((public.list_batch_templates() -> 'templates' -> 1 ->> 'id')::uuid, 'farm')
  -> 'template' ->> 'is_public', 'false', 'an edit by its owner makes it private');
select throws_ok($$ select public.rename_batch_template(pg_temp.id('farm'), 'kept') $$, 'PT409', null,
  'a name is taken once');
select throws_ok($$ select public.rename_batch_template(pg_temp.id('farm'), ' ') $$, 'PT422', null, 'and not empty');
select is(public.delete_batch_template(pg_temp.id('farm')) ->> 'deleted' is not null, true, 'deleted');

:as_service;
select is(pg_temp.save('of the project') -> 'template' -> 'is_own', 'true', 'operators keep the project''s own');
select is(public.save_batch_template('{"name": "for them", "request": {"prompts": [{"text": "a"}]}}',
  'bbbbbbbb-0000-4000-8000-000000000002') -> 'template' -> 'is_own', 'true', 'and a user''s');
select throws_ok($$ select public.list_batch_templates(gen_random_uuid()) $$, 'PT404', null, 'of a user that exists');
:as_other;
select is((select count(*) from jsonb_array_elements(public.list_batch_templates() -> 'templates')), 2::bigint,
  'the project''s own ones are private until they are published');

:as_admin;
insert into batchgen.batch_templates (user_id, name, request)
select 'aaaaaaaa-0000-4000-8000-000000000001', 'n' || n, '{"prompts": [{"text": "a"}]}' from generate_series(1, 199) n;
:as_owner;
select throws_ok($$ select pg_temp.save('one more') $$, 'PT429', 'batch_templates: at most 200 templates per user.',
  'two hundred in all');

select * from finish();
rollback;
