begin;
\ir ../setup.psql
select plan(12);

\set hers '''{ba7c0000-0000-4000-8000-000000000001}'''
create temporary table asked (answer jsonb);
grant all on asked to authenticated;

:as_anon;
select throws_ok($$ select public.request_export('{}') $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.request_export('{}') $$, 'PT401', null, 'a token without a user asks for nothing');
:as_service;
select throws_ok($$ select public.request_export('{}') $$, '42501', null, 'an operator has no exports');
:as_other;
select throws_ok($$ select public.request_export('{ba7c0000-0000-4000-8000-000000000001}') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'somebody else is refused');
select throws_ok($$ select public.request_export('{ba7c0000-0000-4000-8000-0000000000ff}') $$, 'PT404',
  'Batch not found, or it belongs to another user.', 'as for an unknown id');
select throws_ok($$ select public.request_export('{ba7c0000-0000-4000-8000-000000000002}') $$, 'PT422', null,
  'batches without pictures have nothing to export');
:as_owner;
select throws_ok($$ select public.request_export(null) $$, 'PT422', 'p_batch_ids has no ids.', 'without ids');
select throws_ok($$ select public.request_export(array_fill(gen_random_uuid(), array[101])) $$, 'PT422', null,
  'with too many ids');
insert into asked select public.request_export(:hers::uuid[] || :hers::uuid[]);
select is((select a.answer - 'id' - 'created_at' from asked a),
  '{"status": "pending", "user_id": "aaaaaaaa-0000-4000-8000-000000000001", "done": 0, "parts": [], "error": null,
    "missing": 0, "attempts": 0, "ended_at": null, "pictures": 1, "batch_ids":
    ["ba7c0000-0000-4000-8000-000000000001"], "expires_at": null}', 'the owner gets an export');
select is(public.request_export(:hers) ->> 'id', (select a.answer ->> 'id' from asked a),
  'asking again while it is open returns it');
select is(jsonb_array_length(public.get_exports()), 1, 'and it is listed once');
:as_admin;
update public.images set archived_at = now() where generation_id = '17e30000-0000-4000-8000-000000000001';
delete from batchgen.exports;
:as_owner;
select throws_ok($$ select public.request_export('{ba7c0000-0000-4000-8000-000000000001}') $$, 'PT422', null,
  'pictures in the trash are not exported');

select * from finish();
rollback;
