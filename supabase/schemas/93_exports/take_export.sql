-- take_export(p_worker, p_lease_seconds)
-- Lease the export that is due longest, of a user for whom no other export is being built if there is one. Returns
-- {exports: [{export_id, lease_id, user_id, batch_ids, attempt, part_bytes, link_seconds}]}, with at most one. An
-- export whose lease expired is taken again, at most three times in all; then it fails as crashed.
-- Caller: service_role.
-- States: pending -> processing; processing with an expired lease -> processing or failed.
-- Locks: skips locked rows.
create function public.take_export(p_worker text, p_lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports;
  v_settings batchgen.settings;
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  select s.* into v_settings from batchgen.settings s;
  update batchgen.exports e
  set status = 'failed', ended_at = clock_timestamp(), lease_id = null, lease_expires_at = null, worker = null,
    error_code = 'crashed', error_message = 'The workers that built it stopped unexpectedly.'
  where e.id in (
    select x.id from batchgen.exports x
    where x.status = 'processing' and x.lease_expires_at <= clock_timestamp() and x.attempts >= 3
    for update skip locked
  );
  select e.* into v_export from batchgen.exports e
  where e.status = 'pending' and e.due_at <= clock_timestamp()
    or e.status = 'processing' and e.lease_expires_at <= clock_timestamp()
  order by exists (
    select from batchgen.exports o
    where o.user_id = e.user_id and o.status = 'processing' and o.lease_expires_at > clock_timestamp()
  ), e.due_at, e.id
  limit 1 for update skip locked;
  if not found then
    return jsonb_build_object('exports', '[]'::jsonb);
  end if;
  -- A worker that lost its lease may still be storing a file.
  perform batchgen.drop_export_files(v_export.files, interval '15 minutes');
  update batchgen.exports e
  set status = 'processing', lease_id = gen_random_uuid(), worker = p_worker, attempts = e.attempts + 1, done_count = 0,
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
  where e.id = v_export.id returning * into v_export;
  return jsonb_build_object('exports', jsonb_build_array(jsonb_build_object(
    'export_id', v_export.id, 'lease_id', v_export.lease_id, 'user_id', v_export.user_id,
    'batch_ids', to_jsonb(v_export.batch_ids), 'attempt', v_export.attempts,
    'part_bytes', v_settings.export_part_bytes, 'link_seconds', v_settings.export_hours * 3600
  )));
end
$$;
revoke execute on function public.take_export(text, integer) from public, anon, authenticated, service_role;
grant execute on function public.take_export(text, integer) to service_role;
comment on function public.take_export(text, integer) is 'For workers: leases an export to build.';

-- drop_export_files(p_paths, p_wait)
-- Have the outbox delete files of exports after p_wait. A path that Storage cannot have, such as an admin may write,
-- is left out.
create function batchgen.drop_export_files(p_paths text[], p_wait interval) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.storage_deletions as d (bucket_id, path, due_at)
  select distinct 'batchgen-exports', p.path, clock_timestamp() + p_wait from unnest(p_paths) p (path)
  where length(p.path) between 1 and 1000
  on conflict on constraint a_file_is_deleted_once do update
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null
$$;
revoke execute on function batchgen.drop_export_files(text[], interval) from public, anon, authenticated, service_role;
comment on function batchgen.drop_export_files(text[], interval) is
  'Has the outbox delete files of exports after some time.';

-- after_exports_deleted()
-- Have the outbox delete the files of exports that are deleted, for example with their user.
create function batchgen.after_exports_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.drop_export_files(o.files, case when o.status = 'processing' then interval '15 minutes' else '0' end)
  from old_rows o order by o.id;
  return null;
end
$$;
revoke execute on function batchgen.after_exports_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_exports_deleted() is 'Trigger: has the outbox delete the files of deleted exports.';

create trigger after_exports_deleted after delete on batchgen.exports
referencing old table as old_rows for each statement execute function batchgen.after_exports_deleted();
