begin;
\ir ../setup.psql
select plan(7);

\set hers '''{ba7c0000-0000-4000-8000-000000000001}'''
\set theirs '''{ba7c0000-0000-4000-8000-000000000002}'''

:as_owner;
select is(
  public.batch_facts(:hers),
  '[{"id": "ba7c0000-0000-4000-8000-000000000001", "cancelled": 0, "deleted": 0, "reopened_at": null}]',
  'of a batch that runs there is nothing to tell'
);
:as_admin;
update public.image_generations set status = 'failed', error_message = 'Cancelled by user', error_code = 'cancelled'
where batch_id = 'ba7c0000-0000-4000-8000-000000000001' and status <> 'completed';
delete from public.images where generation_id in (
  select id from public.image_generations where batch_id = 'ba7c0000-0000-4000-8000-000000000001'
);
:as_owner;
select is(
  public.batch_facts(:hers) #- '{0,id}', '[{"cancelled": 1, "deleted": 1, "reopened_at": null}]',
  'what was cancelled and what was deleted is counted'
);
:as_admin;
update public.image_generations set status = 'pending', error_message = null
where batch_id = 'ba7c0000-0000-4000-8000-000000000001' and status = 'failed';
:as_owner;
select isnt(public.batch_facts(:hers) #>> '{0,reopened_at}', null, 'that it was queued again is known');
:as_other;
select is(public.batch_facts(:hers), '[]', 'somebody else is told nothing of it');
:as_no_user;
select is(public.batch_facts(:hers), '[]', 'a token without a user reads no facts');
:as_anon;
select throws_ok($$ select public.batch_facts('{}') $$, '42501', null, 'anon is refused');
:as_service;
select is(jsonb_array_length(public.batch_facts(:hers::uuid[] || :theirs::uuid[])), 2, 'an operator is told of all');

select * from finish();
rollback;
