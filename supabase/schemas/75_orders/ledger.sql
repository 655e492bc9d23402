-- note_attempts(p_items, p_outcome)
-- The ledger's rows for leases that end now. p_items: their queue rows as they were. p_outcome: how they ended where
-- the row names no fault; empty: the items are out of the queue, and their generations say. In PL/pgSQL, since that
-- keeps its plan: every result that a worker sends comes this way.
-- Caller: the queue's triggers.
create function batchgen.note_attempts(p_items batchgen.queue[], p_outcome text) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  insert into batchgen.ledger (
    generation_id, attempt, entry, outcome, user_id, batch_id, model_id, provider, provider_model, provider_version,
    order_key, provider_job_id, price_usd, is_charged, amount_usd, queued_seconds, running_seconds, is_late
  )
  select i.generation_id,
    1 + (select coalesce(max(l.attempt), 0) from batchgen.ledger l where l.generation_id = i.generation_id),
    'attempt', r.outcome, i.user_id, coalesce(g.batch_id, o.batch_id), i.model_id,
    coalesce(o.provider, i.provider, batchgen.provider_of(i.model_id)), o.provider_model, o.provider_version, o.key,
    coalesce(i.provider_job_id, o.provider_job_id), o.price_usd, c.is_charged,
    case when c.is_charged then coalesce(o.price_usd, 0) else 0 end, o.queued_seconds, o.running_seconds,
      coalesce(o.is_late, false)
  from unnest(p_items) i
  left join public.image_generations g on g.id = i.generation_id
  left join batchgen.orders o on o.key = i.order_key
  cross join lateral (
    select coalesce(
      i.fault_code, p_outcome,
      case
        when g.id is null then 'deleted' when g.status = 'completed' then 'completed'
        when g.status <> 'failed' then 'withdrawn'
      end,
      (select f.code from batchgen.failures f where f.generation_id = i.generation_id), 'failed'
    ) as outcome
  ) r
  cross join lateral (
    select case
      -- Nothing was ordered, or from who takes no money.
      when o.key is null then
        case when i.provider_job_id is null or i.provider = 'offline' then false when r.outcome = 'completed'
          then true end
      when o.price_usd = 0 then false
      -- Not yet, in an attempt after which the job is asked about again.
      when i.order_over or (p_outcome is null and (o.is_late or g.status = 'completed')) then o.is_charged
    end as is_charged
  ) c;
end
$$;
revoke execute on function batchgen.note_attempts(batchgen.queue[], text)
from public, anon, authenticated, service_role;
comment on function batchgen.note_attempts(batchgen.queue[], text) is 'Writes the ledger''s rows for leases that end.';

-- note_settlement(p_order, p_is_charged, p_outcome)
-- What became known of an order after its last attempt.
create function batchgen.note_settlement(p_order batchgen.orders, p_is_charged boolean, p_outcome text) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.ledger (
    generation_id, attempt, entry, outcome, user_id, batch_id, model_id, provider, provider_model, provider_version,
    order_key, provider_job_id, price_usd, is_charged, amount_usd, queued_seconds, running_seconds, is_late
  )
  select p_order.generation_id, max(l.attempt), 'settlement', p_outcome, p_order.user_id, p_order.batch_id,
    p_order.model_id,
    p_order.provider, p_order.provider_model, p_order.provider_version, p_order.key, p_order.provider_job_id,
    p_order.price_usd,
    p_is_charged, case when p_is_charged then coalesce(p_order.price_usd, 0) else 0 end, p_order.queued_seconds,
    p_order.running_seconds, false
  from batchgen.ledger l where l.order_key = p_order.key
  having max(l.attempt) is not null
$$;
revoke execute on function batchgen.note_settlement(batchgen.orders, boolean, text)
from public, anon, authenticated, service_role;
comment on function batchgen.note_settlement(batchgen.orders, boolean, text) is
  'Writes the ledger''s row for what became known of an order later.';

create function batchgen.before_ledger_changed() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT422', message = 'The ledger is append-only: no row is changed or deleted.',
    hint = 'Use batchgen.note_charge for what is found out later.';
end
$$;
revoke execute on function batchgen.before_ledger_changed() from public, anon, authenticated, service_role;
comment on function batchgen.before_ledger_changed() is 'Refuses every change of the ledger but new rows.';

create trigger before_ledger_changed before update or delete or truncate on batchgen.ledger
for each statement execute function batchgen.before_ledger_changed();
