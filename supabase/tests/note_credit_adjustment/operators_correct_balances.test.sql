begin;
\ir ../setup.psql
select plan(6);

:as_owner;
select throws_ok(
  $$ select public.note_credit_adjustment('aaaaaaaa-0000-4000-8000-000000000001', 5, 'a gift') $$, '42501',
  null, 'a user corrects nothing'
);
:as_service;
select is(
  public.note_credit_adjustment('aaaaaaaa-0000-4000-8000-000000000001', -5, 'a mistake', 'k'),
  '{"balance": -5, "held": 0, "available": -5, "is_new": true}', 'a balance may become negative'
);
select throws_ok(
  $$ select public.note_credit_adjustment('aaaaaaaa-0000-4000-8000-000000000001', 5, 'again', 'k') $$, 'PT409',
  null, 'another adjustment under the same key is refused'
);
select throws_ok(
  $$ select public.grant_credits('aaaaaaaa-0000-4000-8000-000000000001', 5, 'again', 'k') $$, 'PT409',
  null, 'a grant under the key of an adjustment is refused'
);
select throws_ok(
  $$ select public.note_credit_adjustment('aaaaaaaa-0000-4000-8000-000000000001', 0, 'nothing') $$, 'PT422',
  null, 'an adjustment changes something'
);
select throws_ok(
  $$ select public.note_credit_adjustment('aaaaaaaa-0000-4000-8000-000000000001', 5, ' ') $$, 'PT422',
  null, 'an adjustment has a reason'
);

select * from finish();
rollback;
