-- Two schemas of our own, which the API does not expose.
--
-- batchgen: tables, views and functions that nobody is granted anything on. batchgen_api: functions behind the thin
-- ones in public, which run as their caller: in it a caller may execute the named functions and nothing else.
create schema batchgen;
revoke all on schema batchgen from public;
create schema batchgen_api;
revoke all on schema batchgen_api from public;
grant usage on schema batchgen_api to authenticated, service_role;

comment on schema batchgen is
  'The batch worker''s own: settings, the queue, and views of how it is (queue_health first). Private: nobody is '
  'granted anything in it.';
comment on schema batchgen_api is 'Functions behind the thin ones in public. Not exposed by the API.';
