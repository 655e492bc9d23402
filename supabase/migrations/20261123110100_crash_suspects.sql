-- Crash suspects. When a worker dies, nobody knows which of its items did it. So each item whose lease has expired is a
-- suspect, and is claimed alone: by a worker that holds nothing else, and that is given nothing else until the suspect
-- has ended or was handed back. Only a crash while an item ran alone is charged to it (settings.max_crashes).
--
-- Suspects and all other items take turns where both wait, so that neither keeps the other waiting for ever: two suspects,
-- then others for settings.suspect_turn_seconds, divided among the workers. A worker that is never without items makes way for a suspect: it is given nothing until those that it holds have ended.

create table batchgen.turns (
  id boolean primary key default true constraint turns_has_one_row check (id),
  suspects_at timestamptz not null default '-infinity',
  suspects_in_a_row integer not null default 0 constraint suspects_in_a_row_in_range check (suspects_in_a_row between 0 and 1)
);
comment on table batchgen.turns is 'Whose turn it is where suspects and other items wait: one row, written by claims.';
comment on column batchgen.turns.id is 'Always true: there is one row.';
comment on column batchgen.turns.suspects_at is
  'From when on a suspect goes first. Infinity: after the next claim of others, and settings.suspect_turn_seconds.';
comment on column batchgen.turns.suspects_in_a_row is 'How many suspects were claimed in this turn of theirs.';
insert into batchgen.turns default values;
alter table batchgen.turns enable row level security;
create policy "Nobody" on batchgen.turns for all to public using (false);
revoke all on batchgen.turns from public, anon, authenticated, service_role;

-- batchgen.is_suspect_due(p_worker): whether the worker may serve a suspect while other items wait. Half of the workers
-- do at most, and one in any case: those that run one, and those that make way for one.
create function batchgen.is_suspect_due(p_worker text) returns boolean
language sql stable security definer set search_path = '' as $$
  select (select t.suspects_at from batchgen.turns t) <= clock_timestamp()
    and (select count(*) from batchgen.queue q where q.is_suspect and q.state = 'running')
      + (select count(*) from batchgen.workers w where w.worker <> p_worker and w.drains_until > clock_timestamp())
      < greatest(1, (select count(*) from batchgen.live_workers) / 2)
$$;
revoke execute on function batchgen.is_suspect_due(text) from public, anon, authenticated, service_role;
comment on function batchgen.is_suspect_due(text) is 'Whether a worker may serve a suspect while other items wait.';

-- batchgen.drain_worker(p_worker, p_seconds): the worker makes way for a suspect for so long; 0: it does not any more. A
-- renewal that has the worker's row just now is not waited for.
create function batchgen.drain_worker(p_worker text, p_seconds double precision) returns void
language sql security definer set search_path = '' as $$
  update batchgen.workers w set drains_until = case when p_seconds > 0 then clock_timestamp() + make_interval(secs => p_seconds) end
  where w.worker = (
    select o.worker from batchgen.workers o
    where o.worker = p_worker and (p_seconds > 0 or o.drains_until is not null) for no key update skip locked
  )
$$;
revoke execute on function batchgen.drain_worker(text, double precision) from public, anon, authenticated, service_role;
comment on function batchgen.drain_worker(text, double precision) is 'Notes that a worker makes way for a suspect.';

-- batchgen.place_suspect(p_worker, p_is_busy, p_closed_ids)
-- What a claim does about suspects. suspect_id: the first one that may run, locked; empty where none may. is_its_turn: the
-- worker takes that one and nothing else. is_drained: the worker takes nothing at all, since it holds a suspect or makes
-- way for one. has_others: other items wait as well. Caller: the claim, alone under its lock, after a repair of the ranks.
create function batchgen.place_suspect(
  p_worker text, p_is_busy boolean, p_closed_ids uuid[],
  out suspect_id uuid, out is_its_turn boolean, out is_drained boolean, out has_others boolean
)
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_settings batchgen.settings;
  v_due_at timestamptz;
begin
  is_its_turn := false;
  is_drained := exists (select from batchgen.queue q where q.is_suspect and q.state = 'running' and q.worker = p_worker);
  if is_drained then
    return;
  end if;
  select s.* into v_settings from batchgen.settings s;
  select q.generation_id, q.due_at into suspect_id, v_due_at
  from batchgen.queue q
  where q.is_suspect and q.state = 'waiting' and q.model_id <> all (p_closed_ids)
    and (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = q.user_id) < v_settings.max_parallel_per_user
  order by q.priority desc, q.created_at, q.batch_index, q.generation_id
  limit 1 for no key update skip locked;
  has_others := exists (
    select from batchgen.queue q where q.state = 'waiting' and q.ready_rank is not null and q.model_id <> all (p_closed_ids)
  );
  if suspect_id is not null and (not has_others or batchgen.is_suspect_due(p_worker)) then
    is_its_turn := not p_is_busy;
    -- Where others do not wait the worker comes to its end by itself. One that has not waited long may find an idle one.
    is_drained := p_is_busy and has_others
      and v_due_at <= clock_timestamp() - make_interval(secs => v_settings.suspect_turn_seconds);
  end if;
  -- Longer than the worker is silent: it asks again at each poll and whenever an item has ended.
  perform batchgen.drain_worker(p_worker, case when is_drained then v_settings.worker_silence_seconds else 0 end);
end
$$;
revoke execute on function batchgen.place_suspect(text, boolean, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.place_suspect(text, boolean, uuid[]) is 'For the claim: which suspect may run, and whether the worker takes it.';

-- batchgen.note_turn(p_is_suspect): a claim has taken a suspect, or others, while both waited.
create function batchgen.note_turn(p_is_suspect boolean) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_is_suspect then
    update batchgen.turns t
    set suspects_in_a_row = (t.suspects_in_a_row + 1) % 2, suspects_at = case when t.suspects_in_a_row > 0 then 'infinity' else t.suspects_at end;
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
comment on function batchgen.note_turn(boolean) is 'For the claim: whose turn it is next where suspects and other items wait.';

-- batchgen.flaw_of(p_item, p_batch): why an item cannot be run by anybody, as {code, message}; null for all others.
-- create_batch lets none of these in; an admin, another function or an old project may have written anything.
create function batchgen.flaw_of(p_item public.image_generations, p_batch public.batch_generations) returns jsonb
language sql immutable set search_path = '' as $$
  select case
    when coalesce(p_item.user_id, p_batch.user_id) is null
      then '{"code": "no_owner", "message": "Neither the item nor its batch has an owner."}'
    when p_item.prompt is null or batchgen.is_blank(p_item.prompt)
      then '{"code": "no_prompt", "message": "The prompt is empty."}'
    when length(p_item.prompt) > 100000 or length(p_item.negative_prompt) > 100000
      then '{"code": "prompt_too_long", "message": "The prompt is longer than 100000 characters."}'
    when p_item.guidance_scale not between -1000000 and 1000000
      then '{"code": "invalid_settings", "message": "guidance_scale is not a number between -1000000 and 1000000."}'
    when p_item.width not between 1 and 65536 or p_item.height not between 1 and 65536
      then '{"code": "invalid_settings", "message": "width and height are not between 1 and 65536 pixels."}'
    when p_item.steps not between 1 and 10000
      then '{"code": "invalid_settings", "message": "steps is not between 1 and 10000."}'
    when length(p_batch.model_version) > 500
      then '{"code": "invalid_settings", "message": "model_version is longer than 500 characters."}'
  end::jsonb
$$;
revoke execute on function batchgen.flaw_of(public.image_generations, public.batch_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.flaw_of(public.image_generations, public.batch_generations) is 'Why an item cannot be run by anybody.';

-- batchgen.start_items(p_ids, p_worker, p_lease_seconds, p_is_busy)
-- waiting -> running for those of the items that nobody else holds; returns them. A start opens a pending batch: items of
-- one that somebody else holds just now are left for the next claim. Items that nobody can run end as failed, each with
-- its reason, and the others start. Caller: the claim.
create function batchgen.start_items(p_ids uuid[], p_worker text, p_lease_seconds integer, p_is_busy boolean) returns uuid[]
language plpgsql security definer set search_path = '' set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_ids uuid[] := array(select g.id from public.image_generations g where g.id = any (p_ids) for no key update skip locked);
  v_batches uuid[];
  v_busy uuid[];
  v_flawed record;
begin
  for v_flawed in
    select g.id, batchgen.flaw_of(g, b) as flaw
    from public.image_generations g join public.batch_generations b on b.id = g.batch_id
    where g.id = any (v_ids) and batchgen.flaw_of(g, b) is not null
    for no key update of b skip locked
  loop
    perform batchgen.end_as_failed(array[v_flawed.id], v_flawed.flaw ->> 'code', v_flawed.flaw ->> 'message');
  end loop;
  -- One whose batch is held just now waits for the next claim.
  v_ids := array(
    select g.id from public.image_generations g left join public.batch_generations b on b.id = g.batch_id
    where g.id = any (v_ids) and batchgen.flaw_of(g, b) is null
  );
  v_batches := array(select g.batch_id from public.image_generations g where g.id = any (v_ids));
  with opened as (
    select b.id from public.batch_generations b
    where b.id = any (v_batches) and b.status = 'pending' for no key update skip locked
  )
  select array_agg(b.id) into v_busy
  from public.batch_generations b
  where b.id = any (v_batches) and b.status = 'pending' and b.id not in (select o.id from opened o);
  if v_busy is not null then
    v_ids := array(select g.id from public.image_generations g where g.id = any (v_ids) and g.batch_id <> all (v_busy));
  end if;
  if v_ids = '{}' then
    return v_ids;
  end if;
  if p_is_busy then
    update batchgen.queue q set ran_alone = false where q.ran_alone and q.worker = p_worker;
  end if;
  update batchgen.queue q
  set state = 'running', ready_rank = null, lease_id = gen_random_uuid(), worker = p_worker, started_at = clock_timestamp(),
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds), cancel_requested = false,
    fault_code = null, job_over = null, ran_alone = not p_is_busy and cardinality(v_ids) = 1
  where q.generation_id = any (v_ids);
  return v_ids;
end
$$;
revoke execute on function batchgen.start_items(uuid[], text, integer, boolean) from public, anon, authenticated, service_role;
comment on function batchgen.start_items(uuid[], text, integer, boolean) is 'For the claim: leases the picked items to a worker.';
