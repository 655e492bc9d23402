begin;
\ir ../setup.psql
select plan(8);

:as_owner;
select throws_ok($$ select public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', 5) $$, '42501', null,
  'a user grants nothing to herself');
:as_service;
select is(
  public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', 5.25, 'a gift', 'k'),
  '{"balance": 5.25, "held": 0, "available": 5.25, "is_new": true}', 'an operator grants'
);
select is(
  public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', 5.25, 'a gift', 'k') ->> 'is_new', 'false',
  'the same key counts once'
);
select throws_ok($$ select public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', 6, null, 'k') $$, 'PT409', null,
  'another grant under the same key is refused');
select throws_ok($$ select public.grant_credits('aaaaaaaa-0000-4000-8000-00000000ffff', 5) $$, 'PT404', null,
  'a user who does not exist gets nothing');
select throws_ok($$ select public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', -5) $$, 'PT422', null,
  'a grant takes nothing away');
select throws_ok($$ select public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', 5, repeat('x', 501)) $$,
  'PT422', null, 'a note has at most 500 characters');
select throws_ok($$ select public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', 5, 'n', repeat('x', 201)) $$,
  'PT422', null, 'a key has at most 200 characters');

select * from finish();
rollback;
