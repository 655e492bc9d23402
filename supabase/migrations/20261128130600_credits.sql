-- Credits: what users may spend on pictures, as an append-only ledger of grants, holds, captures and releases.

-- Credits: an append-only ledger of what users may spend on pictures, and the terms of single users.
--
-- A credit is one unit of models.cost_per_generation. Balance and held credits are sums over the ledger. So that they
-- cost the same however long a user's history is, credit_checkpoints has the sums of entries up to credit_horizon.
-- They can no longer change: the ledger is append-only, and no open transaction has an entry up to there.
create table batchgen.credit_ledger (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  entry text not null constraint credit_entry_is_known check (
    entry in ('grant', 'hold', 'capture', 'release', 'adjust')
  ),
  amount numeric(18, 6) not null,
  generation_id uuid,
  run integer constraint runs_count_from_1 check (run >= 1),
  batch_id uuid,
  model_id uuid,
  key text constraint credit_key_is_bounded check (length(key) between 1 and 200),
  note text constraint credit_note_is_bounded check (length(note) <= 500),
  noted_at timestamptz not null default clock_timestamp(),
  constraint only_adjustments_are_negative check (amount > 0 or (amount < 0 and entry = 'adjust')),
  constraint items_have_a_run_and_others_a_key check (
    case when entry in ('hold', 'capture', 'release')
      then generation_id is not null and run is not null and key is null
      else generation_id is null and run is null and key is not null
    end
  )
);
-- The business keys. A run of an item is held once, and captured or released once; a grant has a key of its user.
create unique index credit_holds on batchgen.credit_ledger (generation_id, run) where entry = 'hold';
create unique index credit_ends on batchgen.credit_ledger (generation_id, run) where entry in ('capture', 'release');
create unique index credits_by_key on batchgen.credit_ledger (user_id, key) where key is not null;
create index credits_of_a_user on batchgen.credit_ledger (user_id, id) include (entry, amount);

alter table batchgen.credit_ledger enable row level security;
create policy "Nobody" on batchgen.credit_ledger for all to public using (false);
revoke all on batchgen.credit_ledger from public, anon, authenticated, service_role;

comment on table batchgen.credit_ledger is
  'Credits of users. Append-only. Balance: grants and adjustments minus captures. Held: holds minus captures and '
  'releases.';
comment on column batchgen.credit_ledger.id is 'Position in the ledger.';
comment on column batchgen.credit_ledger.user_id is
  'The user who pays. Not a foreign key: the ledger outlives the user.';
comment on column batchgen.credit_ledger.entry is
  'grant: credits given. hold: reserved for a run of an item. capture: the run delivered its picture, and the held '
  'credits are spent. release: it ended without a picture, and they are free again. adjust: a correction.';
comment on column batchgen.credit_ledger.amount is 'Credits; only an adjustment can be negative.';
comment on column batchgen.credit_ledger.generation_id is
  'The item of a hold, capture or release. Not a foreign key: the ledger outlives the item.';
comment on column batchgen.credit_ledger.run is 'Number of the item''s run, from 1; each retry by its user is a run.';
comment on column batchgen.credit_ledger.batch_id is 'The item''s batch at the time of the hold.';
comment on column batchgen.credit_ledger.model_id is 'models.id of the item''s model at the time of the hold.';
comment on column batchgen.credit_ledger.key is
  'Key of a grant or an adjustment, unique for its user: repeated with the same key, it counts once.';
comment on column batchgen.credit_ledger.note is 'Reason of a grant or an adjustment, shown to its user.';
comment on column batchgen.credit_ledger.noted_at is 'When the row was written.';

create table batchgen.credit_terms (
  user_id uuid primary key references auth.users (id) on delete cascade,
  monthly_credits numeric(18, 6)
    constraint own_monthly_credits_in_range check (monthly_credits between 0 and 1000000000)
);

alter table batchgen.credit_terms enable row level security;
create policy "Nobody" on batchgen.credit_terms for all to public using (false);
revoke all on batchgen.credit_terms from public, anon, authenticated, service_role;

comment on table batchgen.credit_terms is 'Monthly credits of single users; edit it in place.';
comment on column batchgen.credit_terms.user_id is 'The user.';
comment on column batchgen.credit_terms.monthly_credits is
  'Credits that the user gets each month; empty means monthly_credits in batchgen.settings.';

create table batchgen.credit_prices (
  id bigint generated always as identity primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  model_id uuid references public.models (id) on delete cascade,
  credits numeric(18, 6) not null constraint credit_price_in_range check (credits between 0 and 1000000),
  constraint one_price_per_user_and_model unique nulls not distinct (user_id, model_id)
);
create index credit_prices_of_a_model on batchgen.credit_prices (model_id);

alter table batchgen.credit_prices enable row level security;
create policy "Nobody" on batchgen.credit_prices for all to public using (false);
revoke all on batchgen.credit_prices from public, anon, authenticated, service_role;

comment on table batchgen.credit_prices is
  'Prices of single users, instead of models.cost_per_generation; edit it in place. A change counts for items that are '
  'submitted afterwards.';
comment on column batchgen.credit_prices.id is 'Surrogate key.';
comment on column batchgen.credit_prices.user_id is 'The user.';
comment on column batchgen.credit_prices.model_id is 'The model; empty for all models without a row of their own.';
comment on column batchgen.credit_prices.credits is 'Price of one picture, in credits.';

create table batchgen.credit_schedule (
  id boolean primary key default true constraint credit_schedule_has_one_row check (id),
  next_at timestamptz not null default '-infinity'
);

alter table batchgen.credit_schedule enable row level security;
create policy "Nobody" on batchgen.credit_schedule for all to public using (false);
revoke all on batchgen.credit_schedule from public, anon, authenticated, service_role;

insert into batchgen.credit_schedule default values;

comment on table batchgen.credit_schedule is 'When workers next look for users without this month''s credits. One row.';
comment on column batchgen.credit_schedule.id is 'Always true: there is one row.';
comment on column batchgen.credit_schedule.next_at is 'Nothing is granted before this time.';

create table batchgen.credit_horizon (
  id boolean primary key default true constraint credit_horizon_has_one_row check (id),
  ledger_id bigint not null default 0
);

alter table batchgen.credit_horizon enable row level security;
create policy "Nobody" on batchgen.credit_horizon for all to public using (false);
revoke all on batchgen.credit_horizon from public, anon, authenticated, service_role;

insert into batchgen.credit_horizon default values;

comment on table batchgen.credit_horizon is 'How far the credit ledger is complete. One row.';
comment on column batchgen.credit_horizon.id is 'Always true: there is one row.';
comment on column batchgen.credit_horizon.ledger_id is
  'Every entry up to this id is committed; later ones have higher ids.';

create table batchgen.credit_checkpoints (
  user_id uuid primary key,
  ledger_id bigint not null,
  balance numeric not null,
  held numeric not null
);

alter table batchgen.credit_checkpoints enable row level security;
create policy "Nobody" on batchgen.credit_checkpoints for all to public using (false);
revoke all on batchgen.credit_checkpoints from public, anon, authenticated, service_role;

comment on table batchgen.credit_checkpoints is
  'Sums of the credit ledger up to an entry, for users with many. May be emptied: they are made again.';
comment on column batchgen.credit_checkpoints.user_id is 'The user.';
comment on column batchgen.credit_checkpoints.ledger_id is 'The last entry of the sums; credit_horizon at the time.';
comment on column batchgen.credit_checkpoints.balance is 'Balance at that entry.';
comment on column batchgen.credit_checkpoints.held is 'Held credits at that entry.';

-- price_of(p_user_id, p_model_id)
-- Price of one picture for the user, in credits: the user's own price for the model, else for all models, else
-- models.cost_per_generation. A missing or invalid price is 0.
create function batchgen.price_of(p_user_id uuid, p_model_id uuid) returns numeric
language sql stable security definer set search_path = '' as $$
  select coalesce(
    (
      select p.credits from batchgen.credit_prices p
      where p.user_id = p_user_id and (p.model_id = p_model_id or p.model_id is null)
      order by p.model_id nulls last limit 1
    ),
    (
      select case when m.cost_per_generation between 0 and 1000000 then m.cost_per_generation::numeric(18, 6) end
      from public.models m where m.id = p_model_id
    ),
    0
  )
$$;
revoke execute on function batchgen.price_of(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.price_of(uuid, uuid) is 'Price of one picture for a user, in credits.';

-- credits_between(p_user_id, p_after, p_up_to)
-- Changes of the user's balance and held credits by entries after one id, up to another.
create function batchgen.credits_between(
  p_user_id uuid, p_after bigint, p_up_to bigint, out balance numeric, out held numeric
)
language sql stable security definer set search_path = '' as $$
  select
    coalesce(
      sum(case l.entry when 'grant' then l.amount when 'adjust' then l.amount when 'capture' then -l.amount end), 0
    ),
    coalesce(
      sum(case l.entry when 'hold' then l.amount when 'capture' then -l.amount when 'release' then -l.amount end), 0
    )
  from batchgen.credit_ledger l where l.user_id = p_user_id and l.id > p_after and l.id <= p_up_to
$$;
revoke execute on function batchgen.credits_between(uuid, bigint, bigint)
from public, anon, authenticated, service_role;
comment on function batchgen.credits_between(uuid, bigint, bigint) is
  'Changes of a user''s balance and held credits by some entries of the ledger.';

-- credits_of(p_user_id)
-- The user's balance, and how much of it is held for items under way: the checkpoint and all entries after it.
create function batchgen.credits_of(p_user_id uuid, out balance numeric, out held numeric)
language sql stable security definer set search_path = '' as $$
  select coalesce(c.balance, 0) + l.balance, coalesce(c.held, 0) + l.held
  from (values (p_user_id)) u (id)
  left join batchgen.credit_checkpoints c on c.user_id = u.id
  cross join lateral batchgen.credits_between(u.id, coalesce(c.ledger_id, 0), 9223372036854775807) l
$$;
revoke execute on function batchgen.credits_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.credits_of(uuid) is 'A user''s balance and held credits, summed over the ledger.';

-- credits_available(p_user_id)
-- Credits that the user may spend now: the balance without what is held.
create function batchgen.credits_available(p_user_id uuid) returns numeric
language sql stable security definer set search_path = '' as $$
  select c.balance - c.held from batchgen.credits_of(p_user_id) c
$$;
revoke execute on function batchgen.credits_available(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.credits_available(uuid) is 'Credits that a user may spend now.';

create view batchgen.credit_balances with (security_invoker = on) as
select u.user_id, c.balance, c.held, c.balance - c.held as available
from (select distinct l.user_id from batchgen.credit_ledger l) u cross join lateral batchgen.credits_of(u.user_id) c;
revoke all on batchgen.credit_balances from public, anon, authenticated, service_role;
comment on view batchgen.credit_balances is 'Credits of each user who has ever had any.';
comment on column batchgen.credit_balances.user_id is 'The user.';
comment on column batchgen.credit_balances.balance is 'Grants and adjustments minus what pictures have cost.';
comment on column batchgen.credit_balances.held is 'Credits reserved for items under way.';
comment on column batchgen.credit_balances.available is 'Credits that the user may spend now.';

-- Refusals of items that a user cannot pay for.
--
-- SQLSTATE PT402 (HTTP 402): credits_short; nothing was written. The error's detail is the JSON of every refusal, with
-- needed and available.
--
-- Locks: whoever decides on credits holds the payer's row in user_rate_limits (batchgen.lock_limits), taken after
-- batches and items, and before queue rows. Two requests at once cannot both spend the last credit. Holds are placed
-- under that lock; captures and releases, which only add to what is available, take none. So claims, completions and
-- other ends of items never wait for a payer, whatever users a completion has. An edit in the dashboard is not decided
-- on and takes no lock, either: its holds may exceed the balance.

-- refuse_credits(p_needed, p_available)
-- Refuse items for lack of credits.
-- Errors: PT402.
create function batchgen.refuse_credits(p_needed numeric, p_available numeric) returns void
language plpgsql set search_path = '' as $$
declare
  v_needed numeric := trim_scale(p_needed);
  v_available numeric := trim_scale(p_available);
  v_sentence text := format('Not enough credits: %s needed, %s available.', v_needed, v_available);
  v_remedy text := case
    when v_available > 0 then 'Send fewer items or choose a cheaper model, or ask an admin of the project for credits.'
    else 'Ask an admin of the project for credits, or choose a model that costs nothing.'
  end;
begin
  raise exception using errcode = 'PT402', message = v_sentence, hint = v_remedy,
    detail = jsonb_build_object(
      'code', 'credits_short', 'message', v_sentence, 'index', null, 'field', 'credits', 'limit', v_available,
      'remedy', v_remedy, 'needed', v_needed, 'available', v_available
    )::text;
end
$$;
revoke execute on function batchgen.refuse_credits(numeric, numeric) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_credits(numeric, numeric) is 'Raises PT402: credits_short.';

-- refuse_short_credits(p_user_id, p_needed)
-- Refuse new items that cost more credits than the user has available. Operators are refused, too: they can grant
-- credits first.
-- Caller: check_cost_and_tags and before_retries_are_queued, with the payer's lock except for a preview, before
-- anything is held.
-- Errors: PT402.
create function batchgen.refuse_short_credits(p_user_id uuid, p_needed numeric) returns void
language plpgsql stable security definer set search_path = '' as $$
declare
  v_available numeric;
begin
  if coalesce(p_needed, 0) <= 0 then
    return;
  end if;
  v_available := batchgen.credits_available(p_user_id);
  if v_available < p_needed then
    perform batchgen.refuse_credits(p_needed, v_available);
  end if;
end
$$;
revoke execute on function batchgen.refuse_short_credits(uuid, numeric) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_short_credits(uuid, numeric) is
  'Raises PT402 if new items cost more credits than the user has available.';

-- refuse_overdrawn(p_user_id, p_generation_ids)
-- Refuse items that were just queued and whose holds exceed what the user had available.
-- Caller: batchgen.requeue_items, after the items were queued.
-- Errors: PT402; the caller's transaction ends with it, and so do the holds.
create function batchgen.refuse_overdrawn(p_user_id uuid, p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_held numeric;
  v_left numeric := batchgen.credits_available(p_user_id);
begin
  if v_left >= 0 then
    return;
  end if;
  select sum(h.amount) into v_held
  from batchgen.credit_ledger h join batchgen.queue q on q.generation_id = h.generation_id and q.is_held
  where h.generation_id = any (p_generation_ids) and h.user_id = p_user_id and h.entry = 'hold' and h.run = (
    select max(l.run) from batchgen.credit_ledger l where l.generation_id = h.generation_id
  );
  if v_held > 0 then
    perform batchgen.refuse_credits(v_held, v_left + v_held);
  end if;
end
$$;
revoke execute on function batchgen.refuse_overdrawn(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_overdrawn(uuid, uuid[]) is
  'Raises PT402 if the holds of items just queued exceed what the user had available.';

-- Holds: credits reserved for items under way. queue.is_held marks the items that have one, so that every end of an
-- item, by whomever, closes its hold in the trigger that sees its queue row go; while credits are off no row is marked,
-- and that costs nothing. An item without a mark runs free to its end, and one with a mark is captured or released,
-- whatever settings.credits says by then.

-- hold_credits(p_generation_ids)
-- Hold the price of items that have just entered the queue, at their owner's price of the moment. An item that runs
-- again only to fetch its picture (orders.is_late) continues its last run, at that run's price. Free items and items
-- without an owner get no hold.
-- Caller: after_generations_inserted and batchgen.enter_queue, if settings.credits is on.
create function batchgen.hold_credits(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  with held as (
    insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run, batch_id, model_id)
    select q.user_id, 'hold', p.price, q.generation_id, coalesce(l.run, 0) + 1, g.batch_id, g.model_id
    from batchgen.queue q
    join public.image_generations g on g.id = q.generation_id
    left join batchgen.orders o on o.key = q.order_key
    left join lateral (
      select h.run, h.amount from batchgen.credit_ledger h
      where h.generation_id = q.generation_id and h.entry = 'hold' order by h.run desc limit 1
    ) l on true
    cross join lateral (
      select case when o.is_late then l.amount else batchgen.price_of(q.user_id, g.model_id) end as price
    ) p
    where q.generation_id = any (p_generation_ids) and not q.is_held and p.price > 0
      and q.user_id <> '00000000-0000-0000-0000-000000000000'
    returning generation_id
  )
  update batchgen.queue q set is_held = true from held h where q.generation_id = h.generation_id;
  perform batchgen.keep_checkpoint(u.user_id)
  from (
    select distinct q.user_id from batchgen.queue q where q.generation_id = any (p_generation_ids) and q.is_held
  ) u;
end
$$;
revoke execute on function batchgen.hold_credits(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.hold_credits(uuid[]) is 'Holds the price of items that have just entered the queue.';

-- close_holds(p_generation_ids)
-- Close the holds of items that have left the queue: captured if the item is completed and has its picture, released
-- otherwise.
-- Caller: after_queue_deleted.
create function batchgen.close_holds(p_generation_ids uuid[]) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run, batch_id, model_id)
  select h.user_id,
    case
      when g.status = 'completed' and exists (select from public.images i where i.generation_id = g.id) then 'capture'
      else 'release'
    end,
    h.amount, h.generation_id, h.run, h.batch_id, h.model_id
  from batchgen.credit_ledger h left join public.image_generations g on g.id = h.generation_id
  where h.generation_id = any (p_generation_ids) and h.entry = 'hold' and not exists (
    select from batchgen.credit_ledger c
    where c.generation_id = h.generation_id and c.run = h.run and c.entry in ('capture', 'release')
  );
end
$$;
revoke execute on function batchgen.close_holds(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.close_holds(uuid[]) is 'Captures or releases the holds of items that have left the queue.';

create function batchgen.before_credits_changed() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception using errcode = 'PT422', message = 'The credit ledger is append-only: no row is changed or deleted.',
    hint = 'Use note_credit_adjustment to correct a balance.';
end
$$;
revoke execute on function batchgen.before_credits_changed() from public, anon, authenticated, service_role;
comment on function batchgen.before_credits_changed() is 'Trigger: keeps the credit ledger append-only.';

create trigger before_credits_changed before update or delete or truncate on batchgen.credit_ledger
for each statement execute function batchgen.before_credits_changed();

-- before_credits_inserted()
-- Register a transaction that writes to the credit ledger, before its first entry gets an id. move_credit_horizon waits
-- for no such transaction: it acts only if there is none. Writers do not wait for each other.
-- Locks: the ledger (advisory, shared), to the end of the transaction.
create function batchgen.before_credits_inserted() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_advisory_xact_lock_shared(hashtextextended('batchgen.credit_ledger', 0));
  return null;
end
$$;
revoke execute on function batchgen.before_credits_inserted() from public, anon, authenticated, service_role;
comment on function batchgen.before_credits_inserted() is
  'Trigger: registers a transaction that writes to the credit ledger.';

create trigger before_credits_inserted before insert on batchgen.credit_ledger
for each statement execute function batchgen.before_credits_inserted();

-- move_credit_horizon()
-- Move the horizon to the last entry of the ledger, if no open transaction has written any. Returns whether it did.
-- Caller: service_role; workers, in their housekeeping. A transaction of its own: writers wait until it ends.
-- Locks: the ledger (advisory), if it is free at once; then the row of credit_horizon.
create function public.move_credit_horizon() returns boolean
language plpgsql security definer set search_path = '' as $$
begin
  if not pg_try_advisory_xact_lock(hashtextextended('batchgen.credit_ledger', 0)) then
    return false;
  end if;
  update batchgen.credit_horizon h set ledger_id = l.id
  from (select max(k.id) as id from batchgen.credit_ledger k) l where h.ledger_id < l.id;
  return true;
end
$$;
revoke execute on function public.move_credit_horizon() from public, anon, authenticated, service_role;
grant execute on function public.move_credit_horizon() to service_role;
comment on function public.move_credit_horizon() is
  'For workers: notes how far the credit ledger is complete, so that balances need not be summed from its beginning.';

-- keep_checkpoint(p_user_id)
-- Write a checkpoint for a user with more than 500 entries between the last one and the horizon.
-- Caller: hold_credits.
-- Locks: the user's checkpoint (advisory), if it is free at once; otherwise somebody else writes it.
create function batchgen.keep_checkpoint(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_horizon bigint := (select h.ledger_id from batchgen.credit_horizon h);
  v_last bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended('batchgen.credit_checkpoint ' || p_user_id, 0)) then
    return;
  end if;
  v_last := coalesce((select c.ledger_id from batchgen.credit_checkpoints c where c.user_id = p_user_id), 0);
  if v_horizon - v_last <= 500 or not exists (
    select from batchgen.credit_ledger l
    where l.user_id = p_user_id and l.id > v_last and l.id <= v_horizon order by l.id offset 500
  ) then
    return;
  end if;
  insert into batchgen.credit_checkpoints as c (user_id, ledger_id, balance, held)
  select p_user_id, v_horizon, l.balance, l.held from batchgen.credits_between(p_user_id, v_last, v_horizon) l
  on conflict (user_id) do update
  set ledger_id = excluded.ledger_id, balance = c.balance + excluded.balance, held = c.held + excluded.held
  where c.ledger_id = v_last;
end
$$;
revoke execute on function batchgen.keep_checkpoint(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.keep_checkpoint(uuid) is 'Writes a checkpoint for a user with many new entries.';

-- note_credits(p_entry, p_user_id, p_credits, p_note, p_key)
-- Write a grant or an adjustment. Repeated with the same key, it is written once. Returns the user's credits, and
-- whether the row is new.
-- Caller: grant_credits, note_credit_adjustment.
-- Locks: the user's row in auth.users.
-- Errors: PT404 if there is no such user; PT422 for a note or a key that is too long; PT409 if the key was used for
-- something else.
create function batchgen.note_credits(p_entry text, p_user_id uuid, p_credits numeric, p_note text, p_key text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_key text := coalesce(nullif(btrim(p_key), ''), gen_random_uuid()::text);
  v_is_new boolean;
begin
  perform batchgen.check_text(p_note, 'p_note', 500);
  perform batchgen.check_text(p_key, 'p_key', 200);
  perform 1 from auth.users u where u.id = p_user_id for key share;
  if not found then
    perform batchgen.refuse('user_not_found', 'There is no such user.', 'p_user_id',
      'Use the id of a row in auth.users.', null, null, 'PT404');
  end if;
  insert into batchgen.credit_ledger (user_id, entry, amount, key, note)
  values (p_user_id, p_entry, p_credits, v_key, nullif(p_note, '')) on conflict do nothing;
  v_is_new := found;
  if not v_is_new and not exists (
    select from batchgen.credit_ledger l
    where l.user_id = p_user_id and l.key = v_key and l.entry = p_entry and l.amount = round(p_credits, 6)
  ) then
    perform batchgen.refuse('key_reused', 'This key was used for another grant or adjustment of this user.', 'p_key',
      'Use a new key, or repeat the same call.', null, null, 'PT409');
  end if;
  return batchgen.credit_figures(p_user_id) || jsonb_build_object('is_new', v_is_new);
end
$$;
revoke execute on function batchgen.note_credits(text, uuid, numeric, text, text)
from public, anon, authenticated, service_role;
comment on function batchgen.note_credits(text, uuid, numeric, text, text) is
  'Writes a grant or an adjustment of a user''s credits.';

-- grant_credits(p_user_id, p_credits, p_note, p_key)
-- Give a user credits. p_note: the reason, shown to the user. p_key: repeated with the same key, the grant counts once.
-- Returns {balance, held, available, is_new}.
-- Caller: service_role.
-- Errors: PT404, PT409, PT422.
create function public.grant_credits(
  p_user_id uuid, p_credits numeric, p_note text default null, p_key text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  -- Also refuses NaN and infinity, which are greater than every number.
  if p_credits is null or p_credits not between 0.000001 and 1000000000 then
    perform batchgen.refuse_argument('p_credits', 'is not between 0.000001 and 1000000000',
      'Give a number in this range; use note_credit_adjustment to take credits away.');
  end if;
  return batchgen.note_credits('grant', p_user_id, p_credits, p_note, p_key);
end
$$;
revoke execute on function public.grant_credits(uuid, numeric, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.grant_credits(uuid, numeric, text, text) to service_role;
comment on function public.grant_credits(uuid, numeric, text, text) is 'For operators: gives a user credits.';

-- note_credit_adjustment(p_user_id, p_credits, p_note, p_key)
-- Correct a user's balance by a positive or negative number of credits; the balance may become negative. Arguments and
-- answer as grant_credits, except that the note is required.
-- Caller: service_role.
-- Errors: PT404, PT409, PT422.
create function public.note_credit_adjustment(
  p_user_id uuid, p_credits numeric, p_note text, p_key text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_credits is null or abs(p_credits) not between 0.000001 and 1000000000 then
    perform batchgen.refuse_argument('p_credits', 'is 0 or not between -1000000000 and 1000000000',
      'Give the difference: positive to add credits, negative to take them away.');
  end if;
  if coalesce(btrim(p_note), '') = '' then
    perform batchgen.refuse_argument('p_note', 'is missing', 'Give the reason; the user sees it.');
  end if;
  return batchgen.note_credits('adjust', p_user_id, p_credits, p_note, p_key);
end
$$;
revoke execute on function public.note_credit_adjustment(uuid, numeric, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.note_credit_adjustment(uuid, numeric, text, text) to service_role;
comment on function public.note_credit_adjustment(uuid, numeric, text, text) is
  'For operators: corrects a user''s balance of credits.';

-- credit_figures(p_user_id)
-- {balance, held, available} of the user.
create function batchgen.credit_figures(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
    'balance', trim_scale(c.balance), 'held', trim_scale(c.held), 'available', trim_scale(c.balance - c.held)
  )
  from batchgen.credits_of(p_user_id) c
$$;
revoke execute on function batchgen.credit_figures(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.credit_figures(uuid) is 'Balance, held and available credits of a user, as JSON.';

-- monthly_credits_of(p_user_id)
-- Credits that the user gets each month.
create function batchgen.monthly_credits_of(p_user_id uuid) returns numeric
language sql stable security definer set search_path = '' as $$
  select coalesce(
    (select t.monthly_credits from batchgen.credit_terms t where t.user_id = p_user_id),
    (select s.monthly_credits from batchgen.settings s)
  )
$$;
revoke execute on function batchgen.monthly_credits_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.monthly_credits_of(uuid) is 'Credits that a user gets each month.';

-- credits_of_any_user(p_user_id)
-- The answer of get_credits, for callers that may ask about any user.
-- Errors: PT404.
create function batchgen_api.credits_of_any_user(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_user(p_user_id);
  return batchgen.credit_figures(p_user_id) || jsonb_build_object(
    'is_on', (select s.credits from batchgen.settings s),
    'monthly_credits', trim_scale(batchgen.monthly_credits_of(p_user_id)),
    'prices', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'model_id', m.id, 'name', m.name, 'display_name', m.display_name,
            'credits', trim_scale(batchgen.price_of(p_user_id, m.id))
          ) order by m.is_default desc nulls last, m.sort_order, m.display_name, m.id
        ), '[]'
      )
      from public.models m where m.is_active
    )
  );
end
$$;
revoke execute on function batchgen_api.credits_of_any_user(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.credits_of_any_user(uuid) to service_role;
comment on function batchgen_api.credits_of_any_user(uuid) is 'Behind public.get_credits: for operators.';

-- check_user(p_user_id)
-- Errors: PT404 if there is no such user.
create function batchgen.check_user(p_user_id uuid) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id.', null, null, 'PT404');
  end if;
end
$$;
revoke execute on function batchgen.check_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.check_user(uuid) is 'Raises PT404 if there is no such user.';

-- check_own_user(p_user_id)
-- Errors: PT401 if nobody is signed in; PT404 if p_user_id is given and another user's.
create function batchgen.check_own_user(p_user_id uuid) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id <> auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id.', null, null, 'PT404');
  end if;
end
$$;
revoke execute on function batchgen.check_own_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.check_own_user(uuid) is 'Raises PT404 if a user id is not the signed-in user''s.';

create function batchgen_api.get_credits(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_own_user(p_user_id);
  return batchgen_api.credits_of_any_user(auth.uid());
end
$$;
revoke execute on function batchgen_api.get_credits(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_credits(uuid) to authenticated;
comment on function batchgen_api.get_credits(uuid) is 'Behind public.get_credits: for the signed-in user.';

-- get_credits(p_user_id)
-- Credits of the signed-in user, or for operators of p_user_id: {balance, held, available, is_on, monthly_credits,
-- prices: [{model_id, name, display_name, credits}]}, with a price per active model.
-- Caller: authenticated, for themselves; service_role, for any user.
-- Errors: PT401 if nobody is signed in; PT404 if there is no such user, or it is not the signed-in one.
create function public.get_credits(p_user_id uuid default null) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.credits_of_any_user(uuid)', 'execute') then
    return batchgen_api.credits_of_any_user(p_user_id);
  end if;
  return batchgen_api.get_credits(p_user_id);
end
$$;
revoke execute on function public.get_credits(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_credits(uuid) to authenticated, service_role;
comment on function public.get_credits(uuid) is
  'Credits of the signed-in user: balance, held, available, and the price of a picture per model.';

-- credit_history_of_any_user(p_user_id, p_before, p_limit)
-- The answer of credit_history, for callers that may ask about any user.
-- Errors: PT404, PT422.
create function batchgen_api.credit_history_of_any_user(p_user_id uuid, p_before bigint, p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_entries jsonb;
begin
  perform batchgen.check_user(p_user_id);
  if p_limit is null or p_limit not between 1 and 200 then
    perform batchgen.refuse('out_of_range', 'p_limit is not between 1 and 200.', 'p_limit',
      'Ask for 1 to 200 entries.', null, to_jsonb(200));
  end if;
  select jsonb_agg(
    jsonb_strip_nulls(
      jsonb_build_object(
        'id', l.id, 'entry', l.entry, 'credits', trim_scale(l.amount), 'noted_at', l.noted_at,
        'generation_id', l.generation_id, 'batch_id', l.batch_id, 'model_id', l.model_id, 'note', l.note
      )
    ) order by l.id desc
  ) into v_entries
  from (
    select k.* from batchgen.credit_ledger k
    where k.user_id = p_user_id and k.id < coalesce(p_before, 9223372036854775807) order by k.id desc limit p_limit
  ) l;
  return jsonb_build_object(
    'entries', coalesce(v_entries, '[]'),
    'next', case when jsonb_array_length(v_entries) = p_limit then v_entries -> -1 -> 'id' end
  );
end
$$;
revoke execute on function batchgen_api.credit_history_of_any_user(uuid, bigint, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.credit_history_of_any_user(uuid, bigint, integer) to service_role;
comment on function batchgen_api.credit_history_of_any_user(uuid, bigint, integer) is
  'Behind public.credit_history: for operators.';

create function batchgen_api.credit_history(p_user_id uuid, p_before bigint, p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_own_user(p_user_id);
  return batchgen_api.credit_history_of_any_user(auth.uid(), p_before, p_limit);
end
$$;
revoke execute on function batchgen_api.credit_history(uuid, bigint, integer)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.credit_history(uuid, bigint, integer) to authenticated;
comment on function batchgen_api.credit_history(uuid, bigint, integer) is
  'Behind public.credit_history: for the signed-in user.';

-- credit_history(p_before, p_limit, p_user_id)
-- Entries of the credit ledger, newest first, of the signed-in user, or for operators of p_user_id: {entries: [{id,
-- entry, credits, noted_at, generation_id?, batch_id?, model_id?, note?}], next}. next: p_before of the next page, null
-- after the last one.
-- Caller: authenticated, for themselves; service_role, for any user.
-- Errors: PT401 if nobody is signed in; PT404 if there is no such user, or it is not the signed-in one; PT422.
create function public.credit_history(
  p_before bigint default null, p_limit integer default 50, p_user_id uuid default null
) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.credit_history_of_any_user(uuid, bigint, integer)', 'execute') then
    return batchgen_api.credit_history_of_any_user(p_user_id, p_before, p_limit);
  end if;
  return batchgen_api.credit_history(p_user_id, p_before, p_limit);
end
$$;
revoke execute on function public.credit_history(bigint, integer, uuid) from public, anon, authenticated, service_role;
grant execute on function public.credit_history(bigint, integer, uuid) to authenticated, service_role;
comment on function public.credit_history(bigint, integer, uuid) is
  'Credit ledger of the signed-in user, newest entries first, in pages.';

-- grant_monthly_credits(p_limit)
-- Grant this month's credits to up to p_limit users who do not have them yet: settings.monthly_credits, or the user's
-- own in credit_terms. Months are calendar months in UTC. The key of a grant names its month, so that each user gets it
-- once, whatever number of workers call this; a month in which no worker ran is not made up for. If all users have
-- theirs, the next five minutes do nothing. Returns the number of grants.
-- Caller: service_role; workers, in their housekeeping.
-- Locks: the row of credit_schedule; skipped if another worker holds it.
-- Errors: PT422.
create function public.grant_monthly_credits(p_limit integer default 1000) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_month timestamp := date_trunc('month', clock_timestamp() at time zone 'UTC');
  v_key text := 'month ' || to_char(v_month, 'YYYY-MM');
  v_count integer;
begin
  if p_limit is null or p_limit not between 1 and 10000 then
    perform batchgen.refuse_argument('p_limit', 'is not between 1 and 10000', 'Grant to 1 to 10000 users per call.');
  end if;
  if not (select s.credits from batchgen.settings s) then
    return 0;
  end if;
  perform 1 from batchgen.credit_schedule c where c.next_at <= clock_timestamp() for update skip locked;
  if not found then
    return 0;
  end if;
  insert into batchgen.credit_ledger (user_id, entry, amount, key, note)
  select u.id, 'grant', a.credits, v_key, to_char(v_month, '"Credits of" YYYY-MM')
  from auth.users u
  cross join batchgen.settings s
  left join batchgen.credit_terms t on t.user_id = u.id
  cross join lateral (select coalesce(t.monthly_credits, s.monthly_credits) as credits) a
  where a.credits > 0 and not exists (
    select from batchgen.credit_ledger l where l.user_id = u.id and l.key = v_key
  )
  limit p_limit
  on conflict do nothing;
  get diagnostics v_count = row_count;
  if v_count < p_limit then
    update batchgen.credit_schedule c set next_at = least(
      clock_timestamp() + interval '5 minutes', (v_month + interval '1 month') at time zone 'UTC'
    );
  end if;
  return v_count;
end
$$;
revoke execute on function public.grant_monthly_credits(integer) from public, anon, authenticated, service_role;
grant execute on function public.grant_monthly_credits(integer) to service_role;
comment on function public.grant_monthly_credits(integer) is
  'For workers: grants this month''s credits to users who do not have them yet.';

notify pgrst, 'reload schema';
