-- Errors that refuse a worker's call.
--
-- SQLSTATE PT409 (HTTP 409): the lease is no longer held; drop the result and write nothing.
-- SQLSTATE PT422 (HTTP 422): an argument is out of range; the message names it.

create function batchgen.refuse_argument(p_field text, p_problem text, p_remedy text) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT422',
    message = format('%s %s', p_field, p_problem),
    detail = jsonb_build_object('code', 'invalid_argument', 'field', p_field, 'remedy', p_remedy)::text,
    hint = p_remedy;
end
$$;
revoke execute on function batchgen.refuse_argument(text, text, text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_argument(text, text, text) is
  'Raises PT422: an argument of a worker''s call is out of range.';

create function batchgen.lease_lost(p_generation_id uuid, p_lease_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT409',
    message = format('item %s no longer has lease %s', p_generation_id, p_lease_id),
    detail = jsonb_build_object('code', 'lease_lost', 'generation_id', p_generation_id, 'lease_id', p_lease_id)::text,
    hint = 'Drop the result: another worker owns the item, or it has ended.';
end
$$;
revoke execute on function batchgen.lease_lost(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.lease_lost(uuid, uuid) is 'Raises PT409: the lease is no longer held.';

create function batchgen.check_worker_arguments(p_worker text, p_lease_seconds integer) returns void
language plpgsql set search_path = '' as $$
begin
  if p_worker is null or btrim(p_worker) = '' or length(p_worker) > 200 then
    perform batchgen.refuse_argument('p_worker', 'is empty or longer than 200 characters',
      'Name the worker, for example host:pid.');
  end if;
  if p_lease_seconds is null or p_lease_seconds not between 1 and 86400 then
    perform batchgen.refuse_argument('p_lease_seconds', 'is not between 1 and 86400',
      'Choose a lease of 1 second to 1 day.');
  end if;
end
$$;
revoke execute on function batchgen.check_worker_arguments(text, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.check_worker_arguments(text, integer) is
  'Checks the worker''s name and the lease seconds of a worker''s call.';
