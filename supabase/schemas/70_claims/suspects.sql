-- Crash suspects. When a worker dies, it is unknown which of its items caused it. So each item whose lease has expired
-- becomes a suspect and is claimed alone: by a worker that runs nothing else, and that gets nothing else until the
-- suspect has ended or is handed back. Only a crash while an item ran alone counts against it (settings.max_crashes).
--
-- Where suspects and other items wait, they take turns, so that neither waits for ever: two suspects, then others for
-- settings.suspect_turn_seconds divided by the number of workers. A worker that always has items drains for a suspect:
-- it gets nothing until its own items have ended.

-- is_suspect_due(p_worker)
-- True if the worker may serve a suspect while other items wait. At most half of the workers do, and at least one:
-- counting those that run a suspect and those that drain for one.
create function batchgen.is_suspect_due(p_worker text) returns boolean
language sql stable security definer set search_path = '' as $$
  select (select t.suspects_at from batchgen.turns t) <= clock_timestamp()
    and (select count(*) from batchgen.queue q where q.is_suspect and q.state = 'running')
      + (select count(*) from batchgen.workers w where w.worker <> p_worker and w.drains_until > clock_timestamp())
      < greatest(1, (select count(*) from batchgen.live_workers) / 2)
$$;
revoke execute on function batchgen.is_suspect_due(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_suspect_due(text) is 'True if a worker may serve a suspect while other items wait.';

-- place_suspect(p_worker, p_is_busy, p_closed_ids, p_tried_ids)
-- Decide about suspects in a claim. suspect_id: the first one that may run, locked; empty if none may. is_its_turn: the
-- worker takes that one and nothing else. is_drained: the worker takes nothing, because it runs a suspect or drains for
-- one. has_others: other items wait, too.
-- Caller: the claim, alone under its lock, after a repair of the ranks.
create function batchgen.place_suspect(
  p_worker text, p_is_busy boolean, p_closed_ids uuid[], p_tried_ids uuid[],
  out suspect_id uuid, out is_its_turn boolean, out is_drained boolean, out has_others boolean
)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_settings batchgen.settings;
  v_due_at timestamptz;
begin
  is_its_turn := false;
  is_drained := exists (
    select from batchgen.queue q where q.is_suspect and q.state = 'running' and q.worker = p_worker
  );
  if is_drained then
    return;
  end if;
  select s.* into v_settings from batchgen.settings s;
  -- As in pick_probes: of models that are only probed, items that have ordered come first.
  select q.generation_id, q.due_at into suspect_id, v_due_at
  from batchgen.queue q
  where q.is_suspect and q.state = 'waiting' and q.order_key is not null and q.model_id = any (p_tried_ids)
    and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
      < v_settings.max_parallel_per_user
  order by q.priority desc, q.created_at, q.batch_index, q.generation_id
  limit 1 for no key update skip locked;
  if suspect_id is null then
    select q.generation_id, q.due_at into suspect_id, v_due_at
    from batchgen.queue q
    where q.is_suspect and q.state = 'waiting' and q.model_id <> all (p_closed_ids)
      and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id)
        < v_settings.max_parallel_per_user
    order by q.priority desc, q.created_at, q.batch_index, q.generation_id
    limit 1 for no key update skip locked;
  end if;
  has_others := exists (
    select from batchgen.queue q where q.state = 'waiting' and q.ready_rank is not null
      and q.model_id <> all (p_closed_ids)
  );
  if suspect_id is not null and (not has_others or batchgen.is_suspect_due(p_worker)) then
    is_its_turn := not p_is_busy;
    -- If no others wait, the worker runs empty by itself. If the suspect has not waited long, an idle worker may still
    -- take it.
    is_drained := p_is_busy and has_others
      and v_due_at <= clock_timestamp() - make_interval(secs => v_settings.suspect_turn_seconds);
  end if;
  -- Longer than a worker is silent: it claims again at each poll and whenever an item ends.
  perform batchgen.drain_worker(p_worker, case when is_drained then v_settings.worker_silence_seconds else 0 end);
end
$$;
revoke execute on function batchgen.place_suspect(text, boolean, uuid[], uuid[])
from public, anon, authenticated, service_role;
comment on function batchgen.place_suspect(text, boolean, uuid[], uuid[]) is
  'For the claim: which suspect may run, and whether this worker takes it.';

-- note_turn(p_is_suspect)
-- Record that a claim took a suspect, or other items, while both waited.
create function batchgen.note_turn(p_is_suspect boolean) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_is_suspect then
    update batchgen.turns t
    set suspects_in_a_row = (t.suspects_in_a_row + 1) % 2, suspects_at = case when t.suspects_in_a_row > 0
      then 'infinity' else t.suspects_at end;
  else
    update batchgen.turns t
    set suspects_at = clock_timestamp() + make_interval(
      secs => s.suspect_turn_seconds / greatest(1, (select count(*) from batchgen.live_workers))
    )
    from batchgen.settings s where t.suspects_at = 'infinity';
  end if;
end
$$;
revoke execute on function batchgen.note_turn(boolean) from public, anon, authenticated, service_role;
comment on function batchgen.note_turn(boolean) is
  'For the claim: records whose turn is next between suspects and other items.';

-- claim_beside_suspects(p_worker, p_limit, p_lease_seconds, p_closed_ids, p_tried_ids)
-- claim_ready_items if there are suspects: the worker gets one suspect alone, or other items, or nothing while it
-- drains for a suspect. Returns the ids of the items it got.
-- Caller: claim_generations, alone under its lock, after a ranking.
-- States and locks: as claim_ready_items.
create function batchgen.claim_beside_suspects(
  p_worker text, p_limit integer, p_lease_seconds integer, p_closed_ids uuid[], p_tried_ids uuid[]
) returns uuid[]
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
declare
  v_slots record;
  v_place record;
  v_ids uuid[] := '{}';
begin
  select s.* into v_slots from batchgen.free_slots(p_worker, p_limit) s;
  if v_slots.room <= 0 then
    return v_ids;
  end if;
  select p.* into v_place from batchgen.place_suspect(p_worker, v_slots.held > 0, p_closed_ids, p_tried_ids) p;
  if not (v_place.is_its_turn or v_place.is_drained) then
    v_ids := batchgen.claim_ready_items(p_worker, p_limit, p_lease_seconds, p_closed_ids, p_tried_ids);
  end if;
  if v_place.suspect_id is not null and v_ids <> '{}' then
    perform batchgen.note_turn(false);
  elsif v_place.suspect_id is not null and v_slots.held = 0 and not v_place.is_drained then
    -- The suspect's turn; or the others' turn, but other sessions hold all of them.
    v_ids := batchgen.start_items(array[v_place.suspect_id], p_worker, p_lease_seconds, false);
    perform batchgen.note_probes(v_ids, v_ids, p_tried_ids);
    if v_place.has_others and v_place.is_its_turn and v_ids <> '{}' then
      perform batchgen.note_turn(true);
    end if;
  end if;
  return v_ids;
end
$$;
revoke execute on function batchgen.claim_beside_suspects(text, integer, integer, uuid[], uuid[])
from public, anon, authenticated, service_role;
comment on function batchgen.claim_beside_suspects(text, integer, integer, uuid[], uuid[]) is
  'For the claim: leases one suspect alone, or other items.';
