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
