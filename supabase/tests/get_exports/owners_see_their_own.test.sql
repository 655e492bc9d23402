begin;
\ir ../setup.psql
\ir ../exports.psql
select plan(8);

update batchgen.exports set status = 'ready', lease_id = null, lease_expires_at = null, worker = null, ended_at = now(),
  expires_at = now() + interval '1 hour', parts = '[{"name": "a.zip", "url": "https://x"}]';
:as_anon;
select throws_ok($$ select public.get_exports() $$, '42501', null, 'anon is refused');
:as_no_user;
select throws_ok($$ select public.get_exports() $$, 'PT401', null, 'a token without a user sees nothing');
:as_other;
select is(public.get_exports(), '[]', 'somebody else sees nothing');
:as_owner;
select is(public.get_exports() #>> '{0,parts,0,url}', 'https://x', 'the owner gets the links');
select is(public.get_exports(0), '[]', 'as many as asked for');
:as_service;
select is(jsonb_array_length(public.get_exports(1000)), 1, 'an operator sees all');
:as_admin;
update batchgen.exports set expires_at = clock_timestamp();
:as_owner;
select is(public.get_exports() #>> '{0,status}', 'expired', 'after its hours an export is expired');
select is(public.get_exports() #> '{0,parts}', '[]', 'and has no links');

select * from finish();
rollback;
