begin;
\ir ../setup.psql
\set ids 'jsonb_path_query_array(public.batches_page()::jsonb, \'$.batches[*].batch.name\')'
select plan(12);

:as_anon;
select throws_ok($$ select public.batches_page() $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.batches_page() $$, 'PT401', null, 'a token without a user is told to sign in');
:as_other;
select is(:ids, '["theirs"]', 'users read their own batches');
select throws_ok(
  $$ select public.batches_page_as('aaaaaaaa-0000-4000-8000-000000000001') $$, '42501', null,
  'a user does not act for another'
);
:as_owner;
select is(:ids, '["hers"]', 'and nobody else''s');
select is(public.batches_page(p_search => 'SECRET')::jsonb -> 'batches', '[]', 'a search finds nothing of other users');
select is(public.batches_page(p_tag => 'animals') #>> '{batches,0,batch,name}', 'hers', 'a tag finds the batch');
select throws_ok($$ select public.batches_page(p_limit => 101) $$, 'PT422', null, 'a page has a limit');
select throws_ok($$ select public.batches_page(p_before => 'yesterday') $$, 'PT422', null,
  'a cursor comes from a page');
select throws_ok($$ select public.batches_page(p_state => 'done') $$, 'PT422', null, 'states are known');
:as_service;
select is(json_array_length(public.batches_page() -> 'batches'), 2, 'an operator reads everybody''s batches');
select is(
  public.batches_page_as('bbbbbbbb-0000-4000-8000-000000000002') #>> '{batches,0,batch,name}', 'theirs',
  'or those of one user'
);

select * from finish();
rollback;
