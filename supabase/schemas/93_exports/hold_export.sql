-- hold_export(p_export_id, p_lease_id)
-- Lock an export for its worker and return it.
-- Errors: PT409 lease_lost if the lease has expired or another worker has the export.
create function batchgen.hold_export(p_export_id uuid, p_lease_id uuid) returns batchgen.exports
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports;
begin
  select e.* into v_export from batchgen.exports e
  where e.id = p_export_id and e.lease_id = p_lease_id and e.lease_expires_at > clock_timestamp() for update;
  if not found then
    raise exception using errcode = 'PT409',
      message = format('export %s no longer has lease %s', p_export_id, p_lease_id),
      detail = jsonb_build_object('code', 'lease_lost', 'export_id', p_export_id, 'lease_id', p_lease_id)::text,
      hint = 'Drop the files: another worker builds the export, or it has ended.';
  end if;
  return v_export;
end
$$;
revoke execute on function batchgen.hold_export(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.hold_export(uuid, uuid) is 'Locks an export for its worker; PT409 if the lease is lost.';

-- renew_export(p_export_id, p_lease_id, p_lease_seconds, p_done)
-- Renew the lease and record how many pictures are written.
-- Caller: service_role.
-- Errors: PT409 lease_lost; PT422 for arguments.
create function public.renew_export(p_export_id uuid, p_lease_id uuid, p_lease_seconds integer, p_done integer)
returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
begin
  perform batchgen.check_worker_arguments(v_export.worker, p_lease_seconds);
  update batchgen.exports e
  set lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
    done_count = greatest(e.done_count, p_done)
  where e.id = v_export.id;
end
$$;
revoke execute on function public.renew_export(uuid, uuid, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.renew_export(uuid, uuid, integer, integer) to service_role;
comment on function public.renew_export(uuid, uuid, integer, integer) is 'For workers: renews the lease of an export.';

-- note_export_file(p_export_id, p_lease_id, p_path)
-- Record a file before it is stored, so that the outbox deletes it whatever happens to the worker.
-- Caller: service_role.
-- Errors: PT409 lease_lost; PT422 if the path is not in the export's folder.
create function public.note_export_file(p_export_id uuid, p_lease_id uuid, p_path text) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
begin
  if p_path is null or length(p_path) > 300 or not starts_with(p_path, format('%s/%s/', v_export.user_id, v_export.id))
  then
    perform batchgen.refuse_argument('p_path', 'is not in the folder of the export',
      'Store it at {user_id}/{export_id}/….');
  end if;
  update batchgen.exports e set files = e.files || p_path where e.id = v_export.id and p_path <> all (e.files);
  perform batchgen.drop_export_files(array[p_path], make_interval(hours => s.export_hours + 1))
  from batchgen.settings s;
end
$$;
revoke execute on function public.note_export_file(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.note_export_file(uuid, uuid, text) to service_role;
comment on function public.note_export_file(uuid, uuid, text) is
  'For workers: records a file of an export before it is stored.';
