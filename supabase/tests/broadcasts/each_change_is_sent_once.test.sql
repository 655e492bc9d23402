-- realtime.send writes a row of realtime.messages for each message.
begin;
\ir ../setup.psql
select plan(20);

create function pg_temp.sent() returns table (topic text, event text, payload jsonb) language sql as $$
  with gone as (delete from realtime.messages m where m.extension = 'broadcast' returning m.topic, m.event, m.payload)
  select g.topic, g.event, g.payload from gone g order by (g.payload ->> 'sequence')::bigint
$$;
create function pg_temp.sent_to(p_topic text) returns setof jsonb language sql as $$
  select s.payload - '{id,sequence,batch_id}'::text[] from pg_temp.sent() s where s.topic = p_topic
$$;
select count(*) from pg_temp.sent() \gset

:as_owner;
select public.create_batch('{"prompts": [{"text": "a secret fox"}, {"text": "a secret owl"}]}')
  #>> '{batch,id}' as batch \gset
:as_admin;
create temporary table news as select * from pg_temp.sent();
select bag_eq($$ select topic, event from news $$,
  $$ values ('user:aaaaaaaa-0000-4000-8000-000000000001', 'changed'), ('batchgen:workers', 'waiting') $$,
  'a new batch is sent once to its owner and once to the workers');
select is((select payload -> 'batch_ids' from news where event = 'waiting'), jsonb_build_array(:'batch'),
  'workers hear which batch is new');
select is((select (payload ->> 'items')::integer from news where event = 'waiting'), 2,
  'workers hear how many items wait');
select is((select payload - '{id,sequence,items}'::text[] from news where event = 'changed'),
  jsonb_build_object('batch_id', :'batch', 'status', 'pending', 'total_count', 2, 'completed_count', 0,
    'failed_count', 0), 'the owner hears status and counts');
select is((select jsonb_array_length(payload -> 'items') from news where event = 'changed'), 2, 'and of each item');
select is_empty($$ select from news where payload::text ~ 'secret|fox|owl' $$, 'prompts are never sent');
select bag_eq($$ select private from realtime.messages where extension = 'broadcast' and private is not true $$,
  $$ select false where false $$, 'all messages are private');

update public.image_generations set status = 'processing' where batch_id = :'batch';
select results_eq($$ select s - 'items' from pg_temp.sent_to('user:aaaaaaaa-0000-4000-8000-000000000001') s $$,
  $$ values ('{"status": "processing", "total_count": 2, "completed_count": 0, "failed_count": 0}'::jsonb) $$,
  'a statement on two items and their batch is one message');
update public.image_generations set status = 'completed' where batch_id = :'batch' and batch_index = 0;
select results_eq(
  $$ select s -> 'completed_count', s #> '{items,0,status}', jsonb_array_length(s -> 'items')
    from pg_temp.sent_to('user:aaaaaaaa-0000-4000-8000-000000000001') s $$,
  $$ values ('1'::jsonb, '"completed"'::jsonb, 1) $$, 'an item''s end is one message, with the new counts');
update public.image_generations set status = 'failed' where batch_id = :'batch' and batch_index = 1;
select is((select array_agg(s ->> 'status') from pg_temp.sent_to('user:aaaaaaaa-0000-4000-8000-000000000001') s),
  '{partial}', 'the batch''s end is one message');

update public.image_generations set status = 'pending', retry_count = 1 where batch_id = :'batch' and batch_index = 1;
select is((select array_agg(s.topic) from pg_temp.sent() s), '{user:aaaaaaaa-0000-4000-8000-000000000001}',
  'an item that waits for its delay wakes no worker');
update public.image_generations set status = 'failed' where batch_id = :'batch' and batch_index = 1;
update public.image_generations set status = 'pending', retry_count = 0 where batch_id = :'batch' and batch_index = 1;
select is((select count(*)::integer from pg_temp.sent() s where s.topic = 'batchgen:workers'), 1,
  'an item that is retried by hand wakes the workers');

update public.batch_generations set name = 'foxes' where id = :'batch';
select is((select array_agg(s ->> 'status') from pg_temp.sent_to('user:aaaaaaaa-0000-4000-8000-000000000001') s),
  '{processing}', 'an edit of the batch is one message');
update public.image_generations set prompt = 'another' where id in (
  select id from public.image_generations where batch_id is null
);
select is_empty($$ select from pg_temp.sent() $$, 'single generations are not sent');
delete from public.image_generations where batch_id = :'batch' and batch_index = 1;
select is((select array_agg(s ->> 'total_count') from pg_temp.sent_to('user:aaaaaaaa-0000-4000-8000-000000000001') s),
  '{2}', 'a deleted item is one message');
delete from public.batch_generations where id = :'batch';
select is((select array_agg(s ->> 'status') from pg_temp.sent_to('user:aaaaaaaa-0000-4000-8000-000000000001') s),
  '{deleted}', 'a deleted batch is one message');

-- Numbers grow; two batches of one statement are two messages.
:as_owner;
select public.create_batch('{"prompts": [{"text": "one"}, {"text": "two"}]}') is not null as made,
  public.create_batch('{"prompts": [{"text": "one"}, {"text": "two"}]}') is not null as made_too \gset
:as_admin;
delete from news;
insert into news select * from pg_temp.sent();
update public.image_generations set priority = 1 where status = 'pending' and batch_id is not null;
select is((select count(*)::integer from pg_temp.sent() s where s.event = 'changed'), (
  select count(distinct batch_id)::integer from public.image_generations
  where status = 'pending' and batch_id is not null
), 'one message per batch and statement');
select is((select count(distinct payload ->> 'sequence')::integer from news), (select count(*)::integer from news),
  'each message has a number of its own');

-- The setting.
update batchgen.settings set broadcast_changes = false;
select count(*) from pg_temp.sent() \gset
:as_owner;
select public.create_batch('{"prompts": [{"text": "one"}, {"text": "two"}]}') is not null as made \gset
:as_admin;
select is_empty($$ select from pg_temp.sent() $$, 'the setting turns broadcasts off');
update batchgen.settings set broadcast_changes = true;
:as_owner;
select public.create_batch('{"prompts": [{"text": "one"}, {"text": "two"}]}') is not null as made \gset
:as_admin;
select isnt_empty($$ select from pg_temp.sent() $$, 'the setting turns broadcasts on');

select * from finish();
rollback;
