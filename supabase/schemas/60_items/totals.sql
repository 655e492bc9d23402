create view batchgen.totals with (security_invoker = on) as
select b.id, greatest(b.total_count, c.total)::integer as total_count, c.completed::integer as completed_count,
  c.failed::integer as failed_count, s.status,
  case when s.status in ('completed', 'partial', 'failed') then coalesce(b.completed_at,
    clock_timestamp()) end as completed_at
from public.batch_generations b
cross join lateral (
  select count(*) as total,
    count(*) filter (where g.status = 'completed') as completed,
    count(*) filter (where g.status = 'failed') as failed,
    count(*) filter (where g.status = 'pending' and coalesce(g.retry_count, 0) = 0) as untouched
  from public.image_generations g where g.batch_id = b.id
) c
cross join lateral (
  select case
    when c.completed + c.failed < c.total then
      case when coalesce(b.status, 'pending') = 'pending' and c.untouched = c.total then 'pending' else 'processing' end
    when c.completed = 0 then 'failed'
    when c.failed = 0 then 'completed'
    else 'partial'
  end as status
) s;
revoke all on batchgen.totals from public, anon, authenticated, service_role;
comment on view batchgen.totals is 'Correct totals of each batch, counted from its items at the moment.';
comment on column batchgen.totals.id is 'Id of the batch.';
comment on column batchgen.totals.total_count is 'Number of items at submission.';
comment on column batchgen.totals.completed_count is 'Number of completed items.';
comment on column batchgen.totals.failed_count is 'Number of failed items.';
comment on column batchgen.totals.status is 'pending, processing, completed, partial or failed.';
comment on column batchgen.totals.completed_at is 'When the last item ended.';

-- with_totals(p_batch)
-- The batch with counts, status and completed_at computed from its items. The caller holds the batch's row lock, so
-- that two items that end at once cannot miss each other.
create function batchgen.with_totals(p_batch public.batch_generations) returns public.batch_generations
language plpgsql security definer set search_path = '' as $$
declare
  v_totals batchgen.totals;
begin
  select t.* into v_totals from batchgen.totals t where t.id = p_batch.id;
  p_batch.total_count := v_totals.total_count;
  p_batch.completed_count := v_totals.completed_count;
  p_batch.failed_count := v_totals.failed_count;
  p_batch.status := v_totals.status;
  p_batch.completed_at := v_totals.completed_at;
  return p_batch;
end
$$;
revoke execute on function batchgen.with_totals(public.batch_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.with_totals(public.batch_generations) is
  'A batch with counts, status and completed_at computed from its items.';

-- refresh_batches(p_batch_ids)
-- Update the totals of batches; write only those that have changed.
-- Caller: triggers.
-- Locks: the batch rows, by id; the items are read after that.
create function batchgen.refresh_batches(p_batch_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  perform 1 from public.batch_generations b where b.id = any (p_batch_ids) order by b.id for no key update;
  update public.batch_generations b
  set total_count = t.total_count, completed_count = t.completed_count, failed_count = t.failed_count,
    status = t.status, completed_at = t.completed_at
  from batchgen.totals t
  where t.id = any (p_batch_ids) and b.id = t.id
    and (t.total_count, t.completed_count, t.failed_count, t.status, t.completed_at)
      is distinct from (b.total_count, b.completed_count, b.failed_count, b.status, b.completed_at);
end
$$;
revoke execute on function batchgen.refresh_batches(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.refresh_batches(uuid[]) is 'Updates the totals of batches, under their row locks.';

-- before_batch_updated()
-- Ignore a direct edit of totals by the app or an admin: not an error, and the totals stay as computed from the items.
create function batchgen.before_batch_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  new.status := old.status;
  new.completed_at := old.completed_at;
  return batchgen.with_totals(new);
end
$$;
revoke execute on function batchgen.before_batch_updated() from public, anon, authenticated, service_role;
comment on function batchgen.before_batch_updated() is 'Trigger: undoes edits of totals by hand.';

-- Depth 0 means a direct edit: the totals' own updates come from triggers.
create trigger batchgen_before_update
before update of total_count, completed_count, failed_count, status, completed_at on public.batch_generations
for each row when (pg_trigger_depth() = 0) execute function batchgen.before_batch_updated();
