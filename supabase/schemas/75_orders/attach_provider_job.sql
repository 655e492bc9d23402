-- attach_provider_job(p_generation_id, p_lease_id, p_provider, p_provider_job_id)
-- Store the provider's job id before anything waits for the job, so that the next worker of the item resumes it. An
-- order that an earlier attempt sent to another provider is left open: this job does not belong to it.
-- Caller: service_role.
-- Locks: the queue row, then the order.
-- Errors: PT409 if the lease is not held; PT422 for an empty argument.
create function public.attach_provider_job(
  p_generation_id uuid, p_lease_id uuid, p_provider text, p_provider_job_id text
) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_order_key uuid;
begin
  if coalesce(p_provider, '') = '' or coalesce(p_provider_job_id, '') = '' then
    perform batchgen.refuse_argument('p_provider_job_id', 'or p_provider is empty',
      'Send the provider''s name and its job id.');
  end if;
  -- Locks only the queue row: an edit of the item or batch must not keep a paid job's id from being stored.
  update batchgen.queue q set provider = p_provider, provider_job_id = p_provider_job_id
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id and q.lease_expires_at > clock_timestamp()
  returning q.order_key into v_order_key;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  if v_order_key is null then
    return;
  end if;
  update batchgen.orders o set provider = p_provider, provider_job_id = p_provider_job_id
  where o.key = v_order_key and (o.provider = p_provider or not batchgen.is_in_ledger(o.key));
  if not found then
    perform batchgen.leave_orders(array[v_order_key]);
    update batchgen.queue q set order_key = null where q.generation_id = p_generation_id;
  end if;
end
$$;
revoke execute on function public.attach_provider_job(uuid, uuid, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.attach_provider_job(uuid, uuid, text, text) to service_role;
comment on function public.attach_provider_job(uuid, uuid, text, text) is
  'For workers: stores the provider''s job id of a leased item.';
