-- The triggers after_generations_inserted, _updated and _deleted keep queue and totals in step with image_generations,
-- no matter who writes it: the worker's functions, the app, or an admin in the dashboard. They run once per statement.

create function batchgen.after_generations_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_batch_ids uuid[];
begin
  select array_agg(distinct n.batch_id) into v_batch_ids from new_rows n where n.batch_id is not null;
  if v_batch_ids is null then
    return null;
  end if;
  with queued as (
    insert into batchgen.queue (generation_id, user_id, priority, created_at, batch_index, model_id)
    select n.id, batchgen.owner_of(n.user_id, n.batch_id), batchgen.place_of(n.priority),
      coalesce(n.created_at, now()), coalesce(n.batch_index, 0),
      coalesce(n.model_id, '00000000-0000-0000-0000-000000000000')
    from new_rows n where n.batch_id is not null and n.status = 'pending'
    returning user_id
  )
  insert into batchgen.touched (user_id) select distinct user_id from queued;
  if (select s.credits from batchgen.settings s) then
    perform batchgen.hold_credits(array(
      select n.id from new_rows n where n.batch_id is not null and n.status = 'pending'
    ));
  end if;
  perform batchgen.refresh_batches(v_batch_ids);
  return null;
end
$$;
revoke execute on function batchgen.after_generations_inserted() from public, anon, authenticated, service_role;
comment on function batchgen.after_generations_inserted() is 'Trigger: queues and counts new items of batches.';

create trigger batchgen_after_insert after insert on public.image_generations
referencing new table as new_rows for each statement execute function batchgen.after_generations_inserted();
