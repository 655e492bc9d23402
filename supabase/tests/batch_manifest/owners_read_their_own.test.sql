begin;
\ir ../setup.psql
select plan(10);

\set hers '''ba7c0000-0000-4000-8000-000000000001'''
insert into batchgen.generation_tags (generation_id, name) values ('17e30000-0000-4000-8000-000000000002', 'birds');
insert into batchgen.ledger (
  generation_id, attempt, entry, outcome, user_id, batch_id, model_id, provider, price_usd, is_charged, amount_usd
)
select '17e30000-0000-4000-8000-000000000001', n, 'attempt', 'completed', 'aaaaaaaa-0000-4000-8000-000000000001', :hers,
  '00000000-0000-0000-0000-000000000000', 'replicate', 0.003, true, 0.003
from generate_series(1, 2) n;
update public.image_generations set seed = 9007199254740993 where id = '17e30000-0000-4000-8000-000000000001';

:as_owner;
select is(public.batch_manifest(:hers) ->> 'name', 'hers', 'the owner reads a batch');
select is(public.batch_manifest(:hers) #>> '{items,0,pictures,0,storage_path}',
  'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png', 'with its pictures');
select is(public.batch_manifest(:hers) #> '{items,0,pictures,0,tags}', '["animals"]', 'and their tags');
select is(public.batch_manifest(:hers) #> '{items,1,tags}', '["birds"]', 'and the tags that a request asked for');
select is(public.batch_manifest(:hers) #> '{items,0,cost_usd}', '"0.006"', 'costs are sums of the ledger');
select is(public.batch_manifest(:hers) #> '{items,0,seed}', '"9007199254740993"', 'seeds are texts');
:as_service;
select is(public.batch_manifest(:hers) #> '{items,0,cost_usd}', '"0.006"', 'an operator reads any batch, with costs');
:as_other;
select is(public.batch_manifest(:hers), null, 'somebody else reads nothing');
select is_empty($$ select * from batchgen_api.item_facts('ba7c0000-0000-4000-8000-000000000001') $$,
  'nor costs or tags');
:as_anon;
select throws_ok($$ select public.batch_manifest('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null,
  'anon is refused');

select * from finish();
rollback;
