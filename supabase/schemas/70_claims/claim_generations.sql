-- claim_generations(p_worker, p_limit, p_lease_seconds)
-- Lease up to p_limit waiting items to a worker and return them as rows of batchgen.claimed_items. Order: highest
-- priority first; then a user's n-th running item waits for every other user's n-th; then first in, first out. Never
-- more than settings.max_parallel_per_user of one user or settings.max_parallel_global in all: running items are
-- counted here, under the lock; no counter is kept. Items whose provider or model is paused are parked until the pause
-- ends. An item whose worker died is claimed alone, and its new worker gets nothing beside it.
-- Caller: service_role.
-- States: pending -> processing; failed if no worker can run the item (batchgen.flaw_of).
-- Locks: one claim at a time (advisory); rows locked by other sessions are skipped.
-- Errors: PT422 for an argument out of range, and outside READ COMMITTED.
--
-- Plan settings, here and in the functions called: generic plans without sequential scans, because a session keeps its
-- plans and may have made them while the queue was empty. No JIT, which the guessed costs of such plans would start:
-- compiling takes longer than a hundred claims. No sorts, so that ready rows are read in order from their index instead
-- of all being read and sorted: the planner expects one row.
create function public.claim_generations(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  generation_id uuid, lease_id uuid, lease_expires_at timestamptz, attempt integer, retry_count integer, user_id uuid,
  batch_id uuid, batch_index integer, prompt text, negative_prompt text, seed bigint, model text, model_version text,
  width integer, height integer, steps integer, guidance_scale double precision, provider text, provider_job_id text,
  model_provider text, input_spec jsonb, estimated_seconds double precision, order_key uuid, ordered_inputs jsonb,
  ordered_seconds_ago double precision, is_late boolean, had_picture boolean
)
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set enable_sort = 'off' set jit = 'off' as $$
#variable_conflict use_column
declare
  v_closed uuid[];
  v_tried uuid[];
  v_ids uuid[];
begin
  perform batchgen.check_claim(p_worker, p_limit, p_lease_seconds);
  perform pg_advisory_xact_lock(hashtextextended('batchgen.claim', 0));
  perform public.return_expired_leases();
  perform batchgen.promote_delayed_items();
  select m.closed_ids, m.tried_ids into v_closed, v_tried from batchgen.unpark_open_models() m;
  perform batchgen.rank_ready_items(2, v_closed);
  if exists (select from batchgen.queue q where q.is_suspect) then
    v_ids := batchgen.claim_beside_suspects(p_worker, p_limit, p_lease_seconds, v_closed, v_tried);
  else
    v_ids := batchgen.claim_ready_items(p_worker, p_limit, p_lease_seconds, v_closed, v_tried);
  end if;
  perform batchgen.note_worker(p_worker, p_lease_seconds);
  if v_ids = '{}' then
    return;
  end if;
  perform batchgen.mark_as_processing(v_ids);
  return query select c.* from batchgen.claimed_items c where c.generation_id = any (v_ids);
end
$$;
revoke execute on function public.claim_generations(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.claim_generations(text, integer, integer) to service_role;
comment on function public.claim_generations(text, integer, integer) is
  'For workers: leases waiting items, fairly and within the limits.';

-- check_claim(p_worker, p_limit, p_lease_seconds)
-- Check the arguments of a claim.
-- Caller: claim_generations. Errors: PT422.
create function batchgen.check_claim(p_worker text, p_limit integer, p_lease_seconds integer) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 10000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 10000',
      'Ask for as many items as there are free slots.');
  end if;
  if current_setting('transaction_isolation') <> 'read committed' then
    -- Each statement of a claim must see what the claim before it committed.
    raise exception using errcode = 'PT422', message = 'claim_generations needs READ COMMITTED';
  end if;
end
$$;
revoke execute on function batchgen.check_claim(text, integer, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.check_claim(text, integer, integer) is 'Checks the arguments of a claim.';

-- promote_delayed_items()
-- Make delayed items that are due wait for a slot.
-- Caller: claim_generations. States in the queue: delayed -> waiting. Locks: skips locked rows.
create function batchgen.promote_delayed_items() returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  with due as (
    select q.generation_id from batchgen.queue q
    where q.state = 'delayed' and q.due_at <= clock_timestamp() for no key update skip locked
  ),
  promoted as (
    update batchgen.queue q set state = 'waiting' from due where q.generation_id = due.generation_id returning q.user_id
  )
  insert into batchgen.touched (user_id) select distinct p.user_id from promoted p;
end
$$;
revoke execute on function batchgen.promote_delayed_items() from public, anon, authenticated, service_role;
comment on function batchgen.promote_delayed_items() is
  'For the claim: makes delayed items that are due wait for a slot.';

-- mark_as_processing(p_ids)
-- Mark items leased by batchgen.start_items as processing.
-- Caller: claim_generations.
-- States: pending -> processing; by trigger, their batches, too.
create function batchgen.mark_as_processing(p_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  update public.image_generations g
  set status = 'processing', error_message = null, error_code = null, completed_at = null,
    started_at = clock_timestamp(),
    seed = coalesce(g.seed, floor(random() * 2147483648)::bigint),
    -- An item without an owner gets its batch's (start_items takes no item with neither).
    user_id = coalesce(g.user_id, (select b.user_id from public.batch_generations b where b.id = g.batch_id))
  where g.id = any (p_ids);
end
$$;
revoke execute on function batchgen.mark_as_processing(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.mark_as_processing(uuid[]) is 'For the claim: marks leased items as processing.';

-- claim_generations_as_json(p_worker, p_limit, p_lease_seconds, p_about)
-- claim_generations as {claims: [{generation_id, lease_id, …}]}, one JSON value: PostgREST's max-rows silently cuts off
-- rows, and nobody would hold a lease that was cut off. p_about: {version, providers} of the worker, for get_workers.
-- claim_generations records the worker; this records it again only if p_about says something new.
-- Caller: service_role.
-- States, locks, errors: as claim_generations.
create function public.claim_generations_as_json(
  p_worker text, p_limit integer, p_lease_seconds integer, p_about jsonb default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_claims jsonb;
begin
  select coalesce(jsonb_agg(to_jsonb(c)), '[]') into v_claims
  from public.claim_generations(p_worker, p_limit, p_lease_seconds) c;
  if p_about is not null and exists (
    select from batchgen.workers w
    where w.worker = p_worker and (
      w.version is distinct from p_about ->> 'version' or to_jsonb(w.providers) is distinct from p_about -> 'providers'
    )
  ) then
    perform batchgen.note_worker(p_worker, p_lease_seconds, p_about);
  end if;
  return jsonb_build_object('claims', v_claims);
end
$$;
revoke execute on function public.claim_generations_as_json(text, integer, integer, jsonb)
from public, anon, authenticated, service_role;
grant execute on function public.claim_generations_as_json(text, integer, integer, jsonb) to service_role;
comment on function public.claim_generations_as_json(text, integer, integer, jsonb) is
  'For workers: claim_generations, as {claims: [{generation_id, lease_id, …}]}.';
