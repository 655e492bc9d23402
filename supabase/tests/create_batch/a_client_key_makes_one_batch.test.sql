begin;
\ir ../setup.psql
\set keyed '{"prompts": [{"text": "a"}, {"text": "b"}], "client_key": "k"}'
\set another '{"prompts": [{"text": "a"}, {"text": "c"}], "client_key": "k"}'
select plan(3);

:as_owner;
select is(public.create_batch(:'keyed') -> 'batch' -> 'id', public.create_batch(:'keyed') -> 'batch' -> 'id',
  'sent again, it is the same batch');
select throws_ok(format('select public.create_batch(%L)', :'another'), 'PT409', null,
  'the key does not serve another request');
create temporary table mine as select id from public.batch_generations;
grant select on mine to authenticated;
:as_other;
select is_empty(
  format($$ select 1 from mine where id::text = public.create_batch(%L) -> 'batch' ->> 'id' $$, :'keyed'),
  'somebody else''s request with the same key is another batch'
);

select * from finish();
rollback;
