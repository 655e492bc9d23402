begin;
\ir ../setup.psql
\ir ../open_order.psql
select plan(11);

create function pg_temp.reading(p_state text) returns text language sql as $$
  select format('select (batchgen.read_order_state(''p_error.order'', %L)).*', p_state)
$$;
create function pg_temp.noting(p_state text) returns text language sql as $$
  select format('select batchgen.note_order_state(%L, batchgen.read_order_state(''p_error.order'', %L))',
    '0de20000-0000-4000-8000-000000000001', p_state)
$$;

:as_admin;
select results_eq(
  pg_temp.reading('{"over": false, "charged": true, "queued_seconds": 1e-400, "running_seconds": 1e400}'),
  'values (false, true, 0::double precision, 31536000::double precision)', 'every key is read'
);
select results_eq(pg_temp.reading('{"over": null}'),
  'values (null::boolean, null::boolean, null::double precision, null::double precision)', 'what is null is not known');
select results_eq(pg_temp.reading(null),
  'values (null::boolean, null::boolean, null::double precision, null::double precision)',
  'a missing key is not known');
select throws_ok(pg_temp.reading('[]'), 'PT422', null, 'a list is refused');
select throws_like(pg_temp.reading('{"over": "yes"}'), 'p_error.order.over %', 'a text for a boolean is refused');
select throws_like(pg_temp.reading('{"running_seconds": "2"}'), 'p_error.order.running_seconds %',
  'a text for a number is refused');

update batchgen.orders set is_charged = null, price_usd = 0.04;
select lives_ok(pg_temp.noting('{"over": false, "charged": false, "queued_seconds": 3}'), 'an open order is noted');
select results_eq('select is_charged, queued_seconds from batchgen.orders',
  'values (null::boolean, 3::double precision)', 'an open order''s charge is not known yet');
select lives_ok(pg_temp.noting('{"over": false, "charged": true}'), 'an open order may be charged');
select lives_ok(pg_temp.noting('{"over": true}'), 'a charged order may be over later');
select results_eq('select is_charged, queued_seconds from batchgen.orders',
  'values (true, 3::double precision)', 'what is known stays');

select * from finish();
rollback;
