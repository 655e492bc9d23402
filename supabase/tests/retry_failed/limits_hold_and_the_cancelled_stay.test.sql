begin;
\ir ../setup.psql
update public.image_generations set status = 'failed' where id = '17e30000-0000-4000-8000-000000000002';
insert into public.user_rate_limits (user_id, hourly_generations_limit)
  values ('aaaaaaaa-0000-4000-8000-000000000001', 0);
select plan(4);

:as_owner;
select throws_ok(
  $$ select public.retry_failed('ba7c0000-0000-4000-8000-000000000001') $$, 'PT429',
    'Your hourly limit is reached: 0 of 0 items are used. It resets at '
    || to_char(now() at time zone 'UTC' + interval '1 hour', 'YYYY-MM-DD HH24:MI:SS') || ' UTC.',
      'a limit that is reached'
);
:as_admin;
select is((select status from public.image_generations where id = '17e30000-0000-4000-8000-000000000002'), 'failed',
  'a refused retry changes nothing');
update public.user_rate_limits set hourly_generations_limit = null;
insert into batchgen.failures (generation_id, code) values ('17e30000-0000-4000-8000-000000000002', 'cancelled');
:as_owner;
select is(public.retry_failed('ba7c0000-0000-4000-8000-000000000001') -> 'refused' -> 1 ->> 'code', 'cancelled',
  'what was cancelled stays');
:as_admin;
delete from batchgen.failures;
:as_owner;
select is(public.retry_failed('ba7c0000-0000-4000-8000-000000000001') -> 'done' -> 0 ->> 'action', 'requeued',
  'what failed is queued');

select * from finish();
rollback;
