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

-- begin_order(p_generation_id, p_lease_id, p_order)
-- Record an order before it is sent, so that the next worker of the item knows of it. p_order: {provider, model,
-- version, inputs}. Returns its key. An earlier order of the item that never arrived becomes this one. An order of an
-- earlier attempt that has a job is left open, and a sweep asks for its outcome.
-- Caller: service_role.
-- Locks: the queue row, then the order, like attach_provider_job.
-- Errors: PT409 if the lease is not held. PT422 for an invalid p_order, for an item that runs again only to fetch its
-- picture, and for a second job in one attempt.
create function public.begin_order(p_generation_id uuid, p_lease_id uuid, p_order jsonb) returns uuid
language plpgsql security definer set search_path = '' as $$
declare
  v_item batchgen.queue;
  v_order batchgen.orders;
  v_key uuid;
begin
  if coalesce(p_order ->> 'provider', '') = '' or coalesce(jsonb_typeof(p_order -> 'inputs'), 'object') <> 'object' then
    perform batchgen.refuse_argument('p_order', 'has no provider, or its inputs are not an object',
      'Send {provider, model, version, inputs}.');
  end if;
  select q.* into v_item from batchgen.queue q
  where q.generation_id = p_generation_id and q.lease_id = p_lease_id and q.lease_expires_at > clock_timestamp()
    for no key update;
  if not found then
    perform batchgen.lease_lost(p_generation_id, p_lease_id);
  end if;
  select o.* into v_order from batchgen.orders o where o.key = v_item.order_key;
  if v_order.is_late then
    perform batchgen.refuse_argument('p_generation_id', 'runs again only to fetch a finished picture',
      'Resume its job; do not order again.');
  elsif v_order.provider_job_id is not null and not batchgen.is_in_ledger(v_order.key) then
    perform batchgen.refuse_argument('p_generation_id', 'has a job of this attempt', 'Wait for that job.');
  elsif v_order.provider_job_id is not null then
    perform batchgen.leave_orders(array[v_order.key]);
    v_item.order_key := null;
  end if;
  insert into batchgen.orders as o (
    key, generation_id, user_id, batch_id, model_id, seed, provider, provider_model, provider_version, inputs,
    price_usd, worker
  )
  select coalesce(v_item.order_key, gen_random_uuid()), g.id, v_item.user_id, g.batch_id, v_item.model_id,
    coalesce(g.seed, 0), p_order ->> 'provider', p_order ->> 'model', p_order ->> 'version',
    coalesce(p_order -> 'inputs', '{}'),
    (select m.price_usd from batchgen.models m where m.id = v_item.model_id), v_item.worker
  from public.image_generations g where g.id = p_generation_id
  on conflict (key) do update
  set batch_id = excluded.batch_id, model_id = excluded.model_id, seed = excluded.seed, provider = excluded.provider,
    provider_model = excluded.provider_model, provider_version = excluded.provider_version, inputs = excluded.inputs,
    price_usd = excluded.price_usd, worker = excluded.worker, ordered_at = clock_timestamp(), is_charged = null,
    queued_seconds = null, running_seconds = null, is_settled = false
  returning o.key into v_key;
  update batchgen.queue q set order_key = v_key, provider = null, provider_job_id = null
    where q.generation_id = p_generation_id;
  return v_key;
end
$$;
revoke execute on function public.begin_order(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.begin_order(uuid, uuid, jsonb) to service_role;
comment on function public.begin_order(uuid, uuid, jsonb) is
  'For workers: records an order before it is sent, and returns its key.';

-- is_in_ledger(p_order_key)
-- True if an attempt with this order has ended.
create function batchgen.is_in_ledger(p_order_key uuid) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  return exists (select from batchgen.ledger l where l.order_key = p_order_key);
end
$$;
revoke execute on function batchgen.is_in_ledger(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.is_in_ledger(uuid) is 'True if an attempt with this order has ended.';

-- The ledger, and whether each charge is still unknown. An order of several attempts is unknown only in its last one.
create view batchgen.charges with (security_invoker = on) as
select l.*, coalesce(l.is_charged, false) as is_paid,
  l.is_charged is null and not exists (
    select from batchgen.ledger k where k.order_key = l.order_key
      and (k.attempt > l.attempt or k.is_charged is not null)
  ) and not exists (
    select from batchgen.ledger s where s.generation_id = l.generation_id and s.attempt = l.attempt
      and s.entry = 'settlement'
  ) as is_unknown
from batchgen.ledger l;
revoke all on batchgen.charges from public, anon, authenticated, service_role;
comment on view batchgen.charges is 'The ledger, with two columns that tell what was paid and what is unknown.';
comment on column batchgen.charges.attempt is 'Number of the item''s attempt, from 1; each lease is an attempt.';
comment on column batchgen.charges.entry is
  'attempt: the end of an attempt. settlement: what became known of its order afterwards.';
comment on column batchgen.charges.outcome is
  'Attempts: completed, handed_back, crashed, deleted, withdrawn (removed from its batch), an error code, or failed '
  'if an admin ended it. Settlements: settled, or person if somebody decided by hand.';
comment on column batchgen.charges.user_id is 'Owner of the item; the zero UUID if it has none.';
comment on column batchgen.charges.batch_id is 'The item''s batch; empty if the batch was deleted before an order.';
comment on column batchgen.charges.model_id is 'models.id; the zero UUID for items without a model.';
comment on column batchgen.charges.provider is 'Name of the provider, as workers use it.';
comment on column batchgen.charges.provider_model is 'The model''s id at the provider.';
comment on column batchgen.charges.provider_version is 'The model''s version at the provider.';
comment on column batchgen.charges.order_key is
  'The order; shared by all attempts that waited for it. Empty if nothing was ordered, or if the provider is free.';
comment on column batchgen.charges.provider_job_id is 'The provider''s id of the job.';
comment on column batchgen.charges.price_usd is 'Cost of the order if it is charged; empty if unknown.';
comment on column batchgen.charges.is_charged is
  'True if the order costs money, as far as this row knows; empty if unknown or not known yet.';
comment on column batchgen.charges.amount_usd is 'Cost: the price if charged, otherwise 0.';
comment on column batchgen.charges.queued_seconds is 'Seconds that the job waited at the provider, if it reports them.';
comment on column batchgen.charges.running_seconds is 'Seconds that the job ran at the provider, if it reports them.';
comment on column batchgen.charges.is_late is
  'True if the item had already ended and its picture was fetched afterwards.';
comment on column batchgen.charges.noted_at is 'When the row was written.';
comment on column batchgen.charges.generation_id is 'The item. Not a foreign key: costs outlive the item.';
comment on column batchgen.charges.is_paid is 'True if the order was charged, as far as is known.';
comment on column batchgen.charges.is_unknown is
  'True if it is unknown whether the order was charged; record the answer with batchgen.note_charge.';

create view batchgen.costs_of_batches with (security_invoker = on) as
select c.batch_id, c.user_id, count(*) filter (where c.entry = 'attempt') as attempts,
  count(*) filter (where c.is_paid) as paid,
  sum(c.amount_usd) as paid_usd, count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c group by c.batch_id, c.user_id;
revoke all on batchgen.costs_of_batches from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_batches is 'Costs of each batch.';
comment on column batchgen.costs_of_batches.user_id is 'Owner of the batch.';
comment on column batchgen.costs_of_batches.batch_id is
  'The batch; empty for items whose batch was deleted before an order.';
comment on column batchgen.costs_of_batches.attempts is 'Number of attempts.';
comment on column batchgen.costs_of_batches.paid is 'Number of charged orders.';
comment on column batchgen.costs_of_batches.paid_usd is 'Cost of the charged orders, in US dollars.';
comment on column batchgen.costs_of_batches.unknown is
  'Orders that may or may not have been charged: see charges where is_unknown.';
comment on column batchgen.costs_of_batches.unknown_usd is 'Cost of these orders if all were charged, in US dollars.';

create view batchgen.costs_of_users with (security_invoker = on) as
select c.user_id, count(*) filter (where c.entry = 'attempt') as attempts, count(*) filter (where c.is_paid) as paid,
  sum(c.amount_usd) as paid_usd, count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c group by c.user_id;
revoke all on batchgen.costs_of_users from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_users is 'Costs of each user''s pictures.';
comment on column batchgen.costs_of_users.user_id is 'The user; the zero UUID for items without an owner.';
comment on column batchgen.costs_of_users.attempts is 'Number of attempts.';
comment on column batchgen.costs_of_users.paid is 'Number of charged orders.';
comment on column batchgen.costs_of_users.paid_usd is 'Cost of the charged orders, in US dollars.';
comment on column batchgen.costs_of_users.unknown is
  'Orders that may or may not have been charged: see charges where is_unknown.';
comment on column batchgen.costs_of_users.unknown_usd is 'Cost of these orders if all were charged, in US dollars.';

create view batchgen.costs_of_models with (security_invoker = on) as
select c.model_id, m.display_name as model, c.provider, count(*) filter (where c.entry = 'attempt') as attempts,
  count(*) filter (where c.is_paid) as paid, sum(c.amount_usd) as paid_usd,
  count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c left join public.models m on m.id = c.model_id
group by c.model_id, m.display_name, c.provider;
revoke all on batchgen.costs_of_models from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_models is 'Costs of each model''s pictures, by provider.';
comment on column batchgen.costs_of_models.model_id is 'models.id; the zero UUID for items without a model.';
comment on column batchgen.costs_of_models.model is 'models.display_name.';
comment on column batchgen.costs_of_models.provider is 'Provider of the orders.';
comment on column batchgen.costs_of_models.attempts is 'Number of attempts.';
comment on column batchgen.costs_of_models.paid is 'Number of charged orders.';
comment on column batchgen.costs_of_models.paid_usd is 'Cost of the charged orders, in US dollars.';
comment on column batchgen.costs_of_models.unknown is
  'Orders that may or may not have been charged: see charges where is_unknown.';
comment on column batchgen.costs_of_models.unknown_usd is 'Cost of these orders if all were charged, in US dollars.';

create view batchgen.costs_of_days with (security_invoker = on) as
select (c.noted_at at time zone 'UTC')::date as day, count(*) filter (where c.entry = 'attempt') as attempts,
  count(*) filter (where c.is_paid) as paid, sum(c.amount_usd) as paid_usd,
  count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c group by (c.noted_at at time zone 'UTC')::date;
revoke all on batchgen.costs_of_days from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_days is 'Costs of each day.';
comment on column batchgen.costs_of_days.day is 'Day in UTC on which the costs were recorded.';
comment on column batchgen.costs_of_days.attempts is 'Number of attempts.';
comment on column batchgen.costs_of_days.paid is 'Number of charged orders.';
comment on column batchgen.costs_of_days.paid_usd is 'Cost of the charged orders, in US dollars.';
comment on column batchgen.costs_of_days.unknown is
  'Orders that may or may not have been charged: see charges where is_unknown.';
comment on column batchgen.costs_of_days.unknown_usd is 'Cost of these orders if all were charged, in US dollars.';

-- get_costs(p_by, p_since, p_limit, p_batch_id)
-- Costs grouped by p_by: batch, user, day (in UTC) or model. p_since: only costs recorded at this time or later.
-- p_batch_id: only costs of this batch. Most expensive first, days newest first; at most p_limit rows.
-- Caller: service_role.
create function public.get_costs(
  p_by text, p_since timestamptz default null, p_limit integer default 100, p_batch_id uuid default null
)
returns table (key text, name text, attempts bigint, paid bigint, paid_usd numeric, unknown bigint, unknown_usd numeric)
language plpgsql stable security definer set search_path = '' as $$
#variable_conflict use_column
begin
  if p_by is null or p_by not in ('batch', 'user', 'day', 'model') then
    perform batchgen.refuse_argument('p_by', 'is not batch, user, day or model', 'Send one of them.');
  end if;
  if p_limit is null or p_limit not between 1 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 1 and 1000',
      'Ask for fewer rows, or for a shorter time.');
  end if;
  return query
  select s.key,
    case p_by
      when 'batch' then (select b.name from public.batch_generations b where b.id::text = s.key)
      when 'model' then (select m.display_name from public.models m where m.id::text = s.key)
    end,
    s.attempts, s.paid, s.paid_usd, s.unknown, s.unknown_usd
  from (
    select case p_by when 'batch' then c.batch_id::text when 'user' then c.user_id::text when 'model'
      then c.model_id::text
        else ((c.noted_at at time zone 'UTC')::date)::text end as key,
      count(*) filter (where c.entry = 'attempt') as attempts, count(*) filter (where c.is_paid) as paid,
      sum(c.amount_usd) as paid_usd, count(*) filter (where c.is_unknown) as unknown,
      coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
    from batchgen.charges c
    where (p_since is null or c.noted_at >= p_since) and (p_batch_id is null or c.batch_id = p_batch_id)
    group by 1
  ) s
  order by case when p_by = 'day' then s.key end desc, s.paid_usd desc, s.unknown_usd desc, s.key
  limit p_limit;
end
$$;
revoke execute on function public.get_costs(text, timestamptz, integer, uuid)
from public, anon, authenticated, service_role;
grant execute on function public.get_costs(text, timestamptz, integer, uuid) to service_role;
comment on function public.get_costs(text, timestamptz, integer, uuid) is
  'For operators: costs of pictures, by batch, user, day or model.';

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

-- note_charge(p_generation_id, p_attempt, p_is_charged)
-- Record whether an order of unknown outcome was charged, according to the provider's bill. The provider is not asked
-- about the order after that. Refused while an item still waits for the order.
-- Caller: an admin.
create function batchgen.note_charge(p_generation_id uuid, p_attempt integer, p_is_charged boolean) returns void
language plpgsql set search_path = '' as $$
declare
  v_key uuid;
begin
  select c.order_key into v_key from batchgen.charges c
  where c.generation_id = p_generation_id and c.attempt = p_attempt and c.entry = 'attempt' and c.is_unknown;
  -- Wait for a session that is settling the order; it is settled then.
  perform 1 from batchgen.orders o where o.key = v_key for update;
  if exists (select from batchgen.orders o where o.key = v_key and o.ended_at is null) then
    perform batchgen.refuse('still_open', 'The item waits for this order.', 'p_attempt',
      'Try again when the item has ended.', null, null, 'PT409');
  end if;
  insert into batchgen.ledger (
    generation_id, attempt, entry, outcome, user_id, batch_id, model_id, provider, provider_model, provider_version,
    order_key, provider_job_id, price_usd, is_charged, amount_usd
  )
  select c.generation_id, c.attempt, 'settlement', 'person', c.user_id, c.batch_id, c.model_id, c.provider,
    c.provider_model, c.provider_version, c.order_key, c.provider_job_id, c.price_usd, p_is_charged,
    case when p_is_charged then coalesce(c.price_usd, 0) else 0 end
  from batchgen.charges c
  where c.generation_id = p_generation_id and c.attempt = p_attempt and c.entry = 'attempt' and c.is_unknown
    and p_is_charged is not null;
  if not found then
    perform batchgen.refuse('nothing_open', 'This attempt has no order of unknown outcome.', 'p_attempt',
      'See the rows of batchgen.charges with is_unknown.', null, null, 'PT404');
  end if;
  delete from batchgen.orders o where o.key = v_key;
end
$$;
revoke execute on function batchgen.note_charge(uuid, integer, boolean) from public, anon, authenticated, service_role;
comment on function batchgen.note_charge(uuid, integer, boolean) is
  'For admins: records whether an order of unknown outcome was charged.';

-- A worker's knowledge of an order, as JSON {over, charged, queued_seconds, running_seconds}; null: unknown.
-- over: the order yields nothing more, so the next attempt orders again.
create type batchgen.order_state as (
  over boolean, charged boolean, queued_seconds double precision, running_seconds double precision
);
comment on type batchgen.order_state is
  'A worker''s knowledge of an order: whether it is over and charged, and how long its job took.';

-- read_order_state(p_argument, p_state)
-- The state of an order as sent by a worker. p_argument: its name in errors. A missing key means unknown.
-- Caller: fail_generation, settle_order, note_charges.
-- Errors: PT422 for an invalid state.
create function batchgen.read_order_state(p_argument text, p_state jsonb) returns batchgen.order_state
language plpgsql set search_path = '' as $$
declare
  v_wrong text;
begin
  if coalesce(jsonb_typeof(p_state), 'null') not in ('object', 'null') then
    perform batchgen.refuse_argument(p_argument, 'is not an object',
      'Send {over, charged, queued_seconds, running_seconds}.');
  end if;
  select k.name into v_wrong
  from (values ('over', 'boolean'), ('charged', 'boolean'), ('queued_seconds', 'number'), ('running_seconds', 'number'))
    k (name, type)
  where coalesce(jsonb_typeof(p_state -> k.name), 'null') not in (k.type, 'null') limit 1;
  if found then
    perform batchgen.refuse_argument(format('%s.%s', p_argument, v_wrong), 'has the wrong type',
      'Send over and charged as true or false, seconds as numbers, or leave out unknown ones.');
  end if;
  return (
    (p_state ->> 'over')::boolean, (p_state ->> 'charged')::boolean,
    batchgen.read_seconds(p_state -> 'queued_seconds'), batchgen.read_seconds(p_state -> 'running_seconds')
  )::batchgen.order_state;
end
$$;
revoke execute on function batchgen.read_order_state(text, jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_order_state(text, jsonb) is 'The state of an order as sent by a worker, checked.';

-- read_seconds(p_number)
-- A JSON number as seconds, from 0 to one year; null for anything else. Rounded: a number too close to zero for double
-- precision would raise an error.
create function batchgen.read_seconds(p_number jsonb) returns double precision
language sql immutable set search_path = '' as $$
  select case when jsonb_typeof(p_number) = 'number' then
    round(least(greatest(p_number::numeric, 0), 31536000), 6)::double precision
  end
$$;
revoke execute on function batchgen.read_seconds(jsonb) from public, anon, authenticated, service_role;
comment on function batchgen.read_seconds(jsonb) is 'A JSON number as seconds.';

-- note_order_state(p_order_key, p_state)
-- Record a worker's knowledge of an order; unknown values stay. Only an order that is over is known to cost nothing; if
-- the price is 0, the order is not charged.
create function batchgen.note_order_state(p_order_key uuid, p_state batchgen.order_state) returns void
language sql security definer set search_path = '' as $$
  update batchgen.orders o
  set is_charged = case
      when o.price_usd = 0 then false
      when p_state.over or p_state.charged then coalesce(p_state.charged, o.is_charged)
      else o.is_charged
    end,
    queued_seconds = coalesce(p_state.queued_seconds, o.queued_seconds),
    running_seconds = coalesce(p_state.running_seconds, o.running_seconds)
  where o.key = p_order_key
$$;
revoke execute on function batchgen.note_order_state(uuid, batchgen.order_state)
from public, anon, authenticated, service_role;
comment on function batchgen.note_order_state(uuid, batchgen.order_state) is
  'Records a worker''s knowledge of an order.';

-- leave_orders(p_keys)
-- Leave orders open: their items no longer wait for them, and a sweep asks for their outcome.
create function batchgen.leave_orders(p_keys uuid[]) returns void
language sql security definer set search_path = '' as $$
  update batchgen.orders o set ended_at = clock_timestamp(), ask_at = clock_timestamp() + interval '2 seconds',
    asked = 0
  where o.key = any (p_keys)
$$;
revoke execute on function batchgen.leave_orders(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.leave_orders(uuid[]) is 'Leaves orders open, for a sweep to ask about.';

-- close_orders(p_items)
-- Close the orders of items that have left the queue or whose order is over. An order that is over is in the ledger and
-- deleted here; the others are left open, for a sweep to ask the provider.
-- Caller: the queue's triggers, after the ledger.
create function batchgen.close_orders(p_items batchgen.queue[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_over batchgen.orders[];
  v_waited uuid[] := array(select i.order_key from unnest(p_items) i where i.lease_id is null);
begin
  with over as (
    delete from batchgen.orders o
    using unnest(p_items) i
    where o.key = i.order_key
      -- An order that ran again to fetch its picture is over now, with or without the picture. An accepted result has
      -- reported its cost; an item that somebody else set to completed says nothing about its job.
      and (i.order_over or o.is_late or (
        o.is_charged is not null and exists (
          select from public.image_generations g where g.id = i.generation_id and g.status = 'completed'
        )
      ))
    returning o.key, (o.*)::batchgen.orders as whole
  )
  -- An item that only waited has no attempt that ends here and could report the cost.
  select array_agg(x.whole) filter (where x.key = any (v_waited) and (x.whole).is_charged is not null) into v_over
    from over x;
  if v_over is not null then
    perform batchgen.note_settlement(v, v.is_charged, 'settled') from unnest(v_over) v;
  end if;
  perform batchgen.leave_orders(array(select i.order_key from unnest(p_items) i));
end
$$;
revoke execute on function batchgen.close_orders(batchgen.queue[]) from public, anon, authenticated, service_role;
comment on function batchgen.close_orders(batchgen.queue[]) is
  'Closes the orders of items that have left the queue or whose order is over.';

-- before_queue_inserted()
-- Give a returning item its open order: it resumes that job first instead of ordering again.
create function batchgen.before_queue_inserted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update batchgen.orders o set ended_at = null, ask_at = null, lease_id = null, lease_expires_at = null
  where o.key = (
    select e.key from batchgen.orders e
    where e.generation_id = new.generation_id and e.ended_at is not null and not e.is_superseded
      -- If the item is in the queue already, this row will not be inserted.
      and not exists (select from batchgen.queue q where q.generation_id = new.generation_id)
    order by e.ordered_at desc limit 1
  )
  returning o.key, case when o.provider_job_id is not null then o.provider end, o.provider_job_id
  into new.order_key, new.provider, new.provider_job_id;
  return new;
end
$$;
revoke execute on function batchgen.before_queue_inserted() from public, anon, authenticated, service_role;
comment on function batchgen.before_queue_inserted() is 'Trigger: gives a returning item its open order.';

create trigger before_queue_inserted before insert on batchgen.queue
for each row execute function batchgen.before_queue_inserted();

create function batchgen.after_lease_ended() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.note_attempts(array[old],
    case when new.crash_count > old.crash_count then 'crashed' else 'handed_back' end);
  if old.order_over and old.order_key is not null then
    perform batchgen.close_orders(array[old]);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_lease_ended() from public, anon, authenticated, service_role;
comment on function batchgen.after_lease_ended() is
  'Trigger: writes the ledger''s row for an attempt whose item waits again.';

create trigger after_lease_ended after update on batchgen.queue
for each row when (old.lease_id is not null and new.lease_id is distinct from old.lease_id)
execute function batchgen.after_lease_ended();

create function batchgen.after_queue_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  v_leased batchgen.queue[];
  v_ordered batchgen.queue[];
  v_held uuid[];
begin
  select array_agg((o.*)::batchgen.queue) filter (where o.lease_id is not null),
    array_agg((o.*)::batchgen.queue) filter (where o.order_key is not null),
    array_agg(o.generation_id) filter (where o.is_held)
  into v_leased, v_ordered, v_held from old_rows o;
  if v_leased is not null then
    perform batchgen.note_attempts(v_leased, null);
  end if;
  if v_ordered is not null then
    perform batchgen.close_orders(v_ordered);
  end if;
  if v_held is not null then
    perform batchgen.close_holds(v_held);
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_queue_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_queue_deleted() is
  'Trigger: writes the ledger''s rows for ended items, and closes their orders and holds.';

create trigger after_queue_deleted after delete on batchgen.queue
referencing old table as old_rows for each statement execute function batchgen.after_queue_deleted();

-- settle_order(p_order_key, p_lease_id, p_outcome)
-- Record the provider's answer about an open order. p_outcome: {order: as batchgen.order_state, has_picture}.
--   not over: the provider is asked again, with growing pauses, for a day; then the outcome is unknown
--   over, with a picture, unless it is known to cost nothing: the item, if it failed, still has its batch and was not
--     edited, runs again only to fetch the picture (is_late)
--   the same, but the item crashed: a settlement in the ledger. That picture may have caused the crashes, so it is
--     fetched only if a person runs the item again within a day
--   over otherwise: a settlement in the ledger
-- Returns true if the item was queued. Ignores an order that is no longer leased.
-- Caller: service_role.
-- States: of the item: failed -> pending, to fetch its picture.
-- Locks: the item and its batch, then the order, as everywhere.
-- Errors: PT422 for an invalid p_outcome.
create function public.settle_order(p_order_key uuid, p_lease_id uuid, p_outcome jsonb) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  v_order batchgen.orders;
  v_state batchgen.order_state;
  v_generation public.image_generations;
  v_code text;
begin
  if jsonb_typeof(p_outcome) is distinct from 'object' then
    perform batchgen.refuse_argument('p_outcome', 'is not an object', 'Send {order, has_picture}.');
  end if;
  v_state := batchgen.read_order_state('p_outcome.order', p_outcome -> 'order');
  v_state.over := coalesce(v_state.over, false);
  select o.* into v_order from batchgen.orders o where o.key = p_order_key;
  perform batchgen.lock_items(array[v_order.generation_id]);
  select o.* into v_order from batchgen.orders o
  where o.key = p_order_key and o.lease_id = p_lease_id and o.ended_at is not null for update;
  if not found then
    return false;
  end if;
  if not v_state.over and v_order.ended_at > clock_timestamp() - interval '1 day' then
    update batchgen.orders o
    set asked = least(o.asked, 1000000) + 1, lease_id = null, lease_expires_at = null,
      ask_at = clock_timestamp() + make_interval(secs => least(3600, 5 * 2.0 ^ least(o.asked, 20)))
    where o.key = p_order_key;
    return false;
  end if;

  perform batchgen.note_order_state(p_order_key, v_state);
  select o.* into v_order from batchgen.orders o where o.key = p_order_key;
  select g.* into v_generation from public.image_generations g where g.id = v_order.generation_id;
  select coalesce((select f.code from batchgen.failures f where f.generation_id = v_generation.id), 'failed')
    into v_code;
  if v_state.over and v_order.is_charged is not false and p_outcome -> 'has_picture' = 'true'::jsonb
    and v_generation.status = 'failed' and v_generation.batch_id is not null and v_code = 'crashed'
    and not v_order.is_superseded
  then
    perform batchgen.note_settlement(v_order, coalesce(v_order.is_charged, true), 'settled');
    -- From here on it costs nothing more.
    update batchgen.orders o
    set is_settled = true, price_usd = 0, is_charged = false, lease_id = null, lease_expires_at = null,
      ask_at = clock_timestamp() + interval '1 day'
    where o.key = p_order_key;
    return false;
  elsif v_state.over and v_order.is_charged is not false and p_outcome -> 'has_picture' = 'true'::jsonb
    and v_generation.status = 'failed' and v_generation.batch_id is not null and not v_order.is_superseded
  then
    update batchgen.orders o
    set is_late = true, late_message = coalesce(v_generation.error_message, 'The picture could not be made.'),
      late_code = v_code
    where o.key = p_order_key;
    update public.image_generations g set status = 'pending', error_message = null, error_code = null,
      completed_at = null, retry_count = 0
    where g.id = v_generation.id;
    return true;
  end if;
  if v_order.is_charged is not null then
    perform batchgen.note_settlement(v_order, v_order.is_charged, 'settled');
  end if;
  delete from batchgen.orders o where o.key = p_order_key;
  return false;
end
$$;
revoke execute on function public.settle_order(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.settle_order(uuid, uuid, jsonb) to service_role;
comment on function public.settle_order(uuid, uuid, jsonb) is
  'For workers: records the outcome of an open order, and queues its item again to fetch a picture.';

-- take_open_orders(p_worker, p_limit, p_lease_seconds)
-- Lease open orders that are due to be asked about. For the first half minute only the worker that sent an order gets
-- it: some services answer only that one.
-- Caller: service_role.
-- Locks: skips locked rows.
create function public.take_open_orders(p_worker text, p_limit integer, p_lease_seconds integer)
returns table (
  order_key uuid, lease_id uuid, generation_id uuid, provider text, provider_job_id text, model text, version text,
  inputs jsonb, seed bigint, ordered_seconds_ago double precision
)
language plpgsql security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  if p_limit is null or p_limit not between 0 and 1000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 0 and 1000', 'Take fewer per call.');
  end if;
  delete from batchgen.orders o where o.key in (
    select s.key from batchgen.orders s
    where s.is_settled and s.ended_at is not null and s.ask_at <= clock_timestamp() for update skip locked
  );
  return query
  with due as (
    select o.key from batchgen.orders o
    where o.ended_at is not null and o.ask_at <= clock_timestamp() and not o.is_settled
      and (o.lease_expires_at is null or o.lease_expires_at <= clock_timestamp())
      and (o.worker = p_worker or o.ended_at <= clock_timestamp() - interval '30 seconds')
    order by o.ask_at limit p_limit for no key update skip locked
  )
  update batchgen.orders o
  set lease_id = gen_random_uuid(), lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
  from due where o.key = due.key
  returning o.key, o.lease_id, o.generation_id, o.provider, o.provider_job_id, o.provider_model, o.provider_version,
  o.inputs, o.seed, extract(epoch from clock_timestamp() - o.ordered_at)::double precision;
end
$$;
revoke execute on function public.take_open_orders(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_open_orders(text, integer, integer) to service_role;
comment on function public.take_open_orders(text, integer, integer) is
  'For workers: leases open orders, to ask their providers for the outcome.';

-- take_open_orders_as_json(p_worker, p_limit, p_lease_seconds)
-- take_open_orders as {orders: [{order_key, lease_id, generation_id, provider, …}]}, one JSON value.
-- Caller: service_role.
-- Errors: as take_open_orders.
create function public.take_open_orders_as_json(p_worker text, p_limit integer, p_lease_seconds integer) returns jsonb
language sql security definer set search_path = '' as $$
  select jsonb_build_object('orders', coalesce(jsonb_agg(to_jsonb(o)), '[]'))
  from public.take_open_orders(p_worker, p_limit, p_lease_seconds) o
$$;
revoke execute on function public.take_open_orders_as_json(text, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.take_open_orders_as_json(text, integer, integer) to service_role;
comment on function public.take_open_orders_as_json(text, integer, integer) is
  'For workers: take_open_orders, as {orders: [{order_key, lease_id, generation_id, provider, …}]}.';
