-- note_attempts(p_items, p_outcome)
-- Write the ledger's rows for ending leases. p_items: their queue rows as they were. p_outcome: the outcome of rows
-- without a fault_code; null if the items have left the queue, and their rows in image_generations tell it. In
-- PL/pgSQL, which keeps its plan: every result of a worker goes through this.
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
      -- Nothing was ordered, or the provider is free.
      when o.key is null then
        case when i.provider_job_id is null or i.provider = 'offline' then false when r.outcome = 'completed'
          then true end
      when o.price_usd = 0 then false
      -- Not known yet after an attempt whose job is asked about again.
      when i.order_over or (p_outcome is null and (o.is_late or g.status = 'completed')) then o.is_charged
    end as is_charged
  ) c;
end
$$;
revoke execute on function batchgen.note_attempts(batchgen.queue[], text)
from public, anon, authenticated, service_role;
comment on function batchgen.note_attempts(batchgen.queue[], text) is 'Writes the ledger''s rows for ending leases.';

-- note_settlement(p_order, p_is_charged, p_outcome)
-- Write the ledger's row for what became known of an order after its last attempt.
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
    hint = 'Use batchgen.note_charge to record later findings.';
end
$$;
revoke execute on function batchgen.before_ledger_changed() from public, anon, authenticated, service_role;
comment on function batchgen.before_ledger_changed() is 'Trigger: keeps the ledger append-only.';

create trigger before_ledger_changed before update or delete or truncate on batchgen.ledger
for each statement execute function batchgen.before_ledger_changed();
