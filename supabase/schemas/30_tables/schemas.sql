-- Two schemas that the API does not expose.
--
-- batchgen: tables, views and functions that no role has any grant on. batchgen_api: functions behind the thin ones in
-- public, which run as their caller: a caller may execute the named functions in it and nothing else.
create schema batchgen;
revoke all on schema batchgen from public;
create schema batchgen_api;
revoke all on schema batchgen_api from public;
grant usage on schema batchgen_api to authenticated, service_role;

comment on schema batchgen is
  'The batch worker''s private schema: settings, the queue, and views of its state (start with queue_health). No role '
  'has any grant in it.';
comment on schema batchgen_api is 'Functions behind the thin ones in public. Not exposed by the API.';
