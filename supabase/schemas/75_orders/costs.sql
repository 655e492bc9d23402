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
