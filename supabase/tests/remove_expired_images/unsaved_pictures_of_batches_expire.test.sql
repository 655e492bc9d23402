begin;
\ir ../setup.psql
update public.images set created_at = now() - interval '10 days';
select plan(6);

:as_anon;
select throws_ok($$ select public.remove_expired_images() $$, '42501', null, 'anon removes nothing');
:as_owner;
select throws_ok($$ select public.remove_expired_images() $$, '42501', null, 'a user removes nothing');
:as_service;
select is(public.remove_expired_images(), 0, 'nothing expires by default');
:as_admin;
update batchgen.settings set image_retention_days = 11;
:as_service;
select is(public.remove_expired_images(), 0, 'younger ones stay');
:as_admin;
update batchgen.settings set image_retention_days = 9;
:as_service;
select is(public.remove_expired_images(), 1, 'an older one of a batch goes');
select results_eq($$ select filename from public.images $$, $$ values ('secret.png') $$, 'a picture of no batch stays');

select * from finish();
rollback;
