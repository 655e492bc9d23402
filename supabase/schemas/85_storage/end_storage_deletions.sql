-- end_storage_deletions(p_worker, p_lease_ids)
-- Remove rows whose files are gone, or never existed. Returns their number; leases no longer held are ignored.
-- Caller: service_role.
create function public.end_storage_deletions(p_worker text, p_lease_ids uuid[]) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_ended integer;
begin
  delete from batchgen.storage_deletions d
  where d.lease_id = any (p_lease_ids) and d.worker = p_worker and d.lease_expires_at > clock_timestamp();
  get diagnostics v_ended = row_count;
  return v_ended;
end
$$;
revoke execute on function public.end_storage_deletions(text, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.end_storage_deletions(text, uuid[]) to service_role;
comment on function public.end_storage_deletions(text, uuid[]) is
  'For workers: confirms that leased files are deleted.';
