-- pick_probes(p_model_ids, p_room, p_cap)
-- Lock one probe for each model to be tried: the first item of a user below the limit. Items that have ordered already
-- come first: asking for a job costs nothing, and a job that never ends may block a local provider.
create function batchgen.pick_probes(p_model_ids uuid[], p_room integer, p_cap integer) returns uuid[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_model_id uuid;
  v_id uuid;
  v_ids uuid[] := '{}';
begin
  foreach v_model_id in array p_model_ids loop
    exit when cardinality(v_ids) >= p_room;
    select q.generation_id into v_id
    from batchgen.queue q
    where q.state = 'waiting' and not q.is_suspect and q.order_key is not null and q.model_id = v_model_id
      and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
        + (select count(*) from batchgen.queue r where r.generation_id = any (v_ids) and r.user_id = q.user_id) < p_cap
    order by q.priority desc, q.created_at, q.batch_index, q.generation_id
    limit 1 for no key update skip locked;
    if v_id is null then
      select q.generation_id into v_id
      from batchgen.queue q
      where q.state = 'waiting' and q.ready_rank <= p_cap and q.model_id = v_model_id
        and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
          + (select count(*) from batchgen.queue r where r.generation_id = any (v_ids) and r.user_id = q.user_id)
          < p_cap
      order by q.priority desc, q.ready_rank, q.created_at, q.batch_index, q.generation_id
      limit 1 for no key update skip locked;
    end if;
    if v_id is not null then
      v_ids := v_ids || v_id;
    end if;
  end loop;
  return v_ids;
end
$$;
revoke execute on function batchgen.pick_probes(uuid[], integer, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.pick_probes(uuid[], integer, integer) is
  'Picks one item as a probe for each model to be tried.';

-- note_probes(p_probes, p_started, p_model_ids)
-- Record the leases of started probes in their breakers; only of p_model_ids, if given.
-- Caller: the claim, which holds the breakers (closed_and_tried_models).
create function batchgen.note_probes(p_probes uuid[], p_started uuid[], p_model_ids uuid[] default null) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  update batchgen.breakers b set probe_lease_id = q.lease_id
  from batchgen.queue q
  where q.generation_id = any (p_probes) and q.generation_id = any (p_started) and b.model_id = q.model_id
    and (p_model_ids is null or b.model_id = any (p_model_ids));
end
$$;
revoke execute on function batchgen.note_probes(uuid[], uuid[], uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.note_probes(uuid[], uuid[], uuid[]) is
  'Records which leases probe a model: their success closes its breaker.';
