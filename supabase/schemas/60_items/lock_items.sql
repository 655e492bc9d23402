-- lock_items(p_generation_ids)
-- Lock the items' batches, then the items. Never waits for an item while it holds a batch, since an edit by hand locks
-- them in the opposite order: then it releases everything and starts over.
create function batchgen.lock_items(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
begin
  loop
    begin
      perform 1 from public.batch_generations b
      where b.id in (select g.batch_id from public.image_generations g where g.id = any (p_generation_ids))
      order by b.id for no key update;
      perform 1 from public.image_generations g where g.id = any (p_generation_ids) for no key update nowait;
      return;
    exception when lock_not_available then
      perform pg_sleep(0.005);
    end;
  end loop;
end
$$;
revoke execute on function batchgen.lock_items(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.lock_items(uuid[]) is 'Locks the items'' batches, then the items.';

-- lock_items_within(p_generation_ids, p_seconds)
-- As batchgen.lock_items, with a time limit. False: another session still holds some of them, and nothing is locked.
create function batchgen.lock_items_within(p_generation_ids uuid[], p_seconds double precision) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_end timestamptz := clock_timestamp() + make_interval(secs => p_seconds);
begin
  loop
    begin
      perform 1 from public.batch_generations b
      where b.id in (select g.batch_id from public.image_generations g where g.id = any (p_generation_ids))
      order by b.id for no key update nowait;
      perform 1 from public.image_generations g where g.id = any (p_generation_ids) for no key update nowait;
      return true;
    exception when lock_not_available then
      exit when clock_timestamp() > v_end;
      perform pg_sleep(0.005);
    end;
  end loop;
  return false;
end
$$;
revoke execute on function batchgen.lock_items_within(uuid[], double precision)
from public, anon, authenticated, service_role;
comment on function batchgen.lock_items_within(uuid[], double precision) is
  'Locks the items'' batches, then the items; gives up after a number of seconds.';

create function batchgen.lock_batch(p_batch_id uuid) returns void
language sql security definer set search_path = '' as $$
  select batchgen.lock_items(array(select g.id from public.image_generations g where g.batch_id = p_batch_id))
$$;
revoke execute on function batchgen.lock_batch(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.lock_batch(uuid) is 'Locks a batch and its items.';
