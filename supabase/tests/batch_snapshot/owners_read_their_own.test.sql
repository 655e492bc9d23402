begin;
\ir ../setup.psql
select plan(6);

:as_owner;
select is(
  (
    select jsonb_agg(g ->> 'prompt' || ' ' || jsonb_array_length(g -> 'images'))
    from jsonb_array_elements(public.batch_snapshot('ba7c0000-0000-4000-8000-000000000001') -> 'generations') g
  ),
  '["a red fox 1", "a blue bird 0"]', 'the owner reads her batch, its items in order, and their pictures'
);
select is(
  public.batch_snapshot('ba7c0000-0000-4000-8000-000000000001') #>> '{generations,0,images,0,storage_path}',
  'aaaaaaaa-0000-4000-8000-000000000001/17e30000-0000-4000-8000-000000000001.png',
  'the pictures of a snapshot have all their columns'
);
:as_other;
select is(public.batch_snapshot('ba7c0000-0000-4000-8000-000000000001'), null, 'somebody else reads nothing of it');
:as_no_user;
select is(public.batch_snapshot('ba7c0000-0000-4000-8000-000000000001'), null, 'a token without a user reads nothing');
:as_anon;
select throws_ok(
  $$ select public.batch_snapshot('ba7c0000-0000-4000-8000-000000000001') $$, '42501', null, 'anon is refused'
);
:as_service;
select is(
  public.batch_snapshot('ba7c0000-0000-4000-8000-000000000002') #>> '{batch,name}', 'theirs', 'an operator reads all'
);

select * from finish();
rollback;
