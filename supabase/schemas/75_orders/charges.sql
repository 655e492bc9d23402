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
