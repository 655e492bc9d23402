-- What each attempt cost, and whether that is still open. An order of several attempts is open in its last one alone.
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
comment on view batchgen.charges is 'The ledger, with what is still open.';
comment on column batchgen.charges.attempt is 'The item''s attempts, counted from 1; an attempt is a lease.';
comment on column batchgen.charges.entry is
  'attempt: how an attempt ended. settlement: what became known of its order afterwards.';
comment on column batchgen.charges.outcome is
  'completed, handed_back, crashed, deleted, withdrawn (taken out of its batch), or the code of the failure, failed '
  'where an admin said so; of a settlement: settled, or person where somebody decided.';
comment on column batchgen.charges.user_id is 'Whose item it is; zeros for nobody''s.';
comment on column batchgen.charges.batch_id is 'The item''s batch; empty where it was deleted before an order.';
comment on column batchgen.charges.model_id is 'models.id; zeros for items that name no model.';
comment on column batchgen.charges.provider is 'The provider, as workers name it.';
comment on column batchgen.charges.provider_model is 'The model''s id there.';
comment on column batchgen.charges.provider_version is 'Its version there.';
comment on column batchgen.charges.order_key is
  'The order; the same in all attempts that waited for it. Empty where nothing was ordered, or for free.';
comment on column batchgen.charges.provider_job_id is 'The provider''s id of the job.';
comment on column batchgen.charges.price_usd is 'What the order costs if it is charged; empty where nobody knows.';
comment on column batchgen.charges.is_charged is
  'Whether it costs money, as far as this row knows; empty: not known, or not yet.';
comment on column batchgen.charges.amount_usd is 'What it costs: the price where it is charged, otherwise 0.';
comment on column batchgen.charges.queued_seconds is 'How long the job waited at the provider, where it tells.';
comment on column batchgen.charges.running_seconds is 'How long it ran there.';
comment on column batchgen.charges.is_late is 'The item had ended, and its picture was collected afterwards.';
comment on column batchgen.charges.noted_at is 'When the row was written.';
comment on column batchgen.charges.generation_id is 'The item. No reference: money outlives the item.';
comment on column batchgen.charges.is_paid is 'Whether it was charged, as far as is known.';
comment on column batchgen.charges.is_unknown is
  'Whether nobody knows if it was charged: batchgen.note_charge takes what a person found out.';
