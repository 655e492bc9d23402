create view batchgen.costs_of_batches with (security_invoker = on) as
select c.batch_id, c.user_id, count(*) filter (where c.entry = 'attempt') as attempts,
  count(*) filter (where c.is_paid) as paid,
  sum(c.amount_usd) as paid_usd, count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c group by c.batch_id, c.user_id;
revoke all on batchgen.costs_of_batches from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_batches is 'What each batch cost.';
comment on column batchgen.costs_of_batches.user_id is 'Whose batch it is.';
comment on column batchgen.costs_of_batches.batch_id is
  'The batch; empty for items whose batch was deleted before they were ordered.';
comment on column batchgen.costs_of_batches.attempts is 'How many attempts there were.';
comment on column batchgen.costs_of_batches.paid is 'How many orders were charged.';
comment on column batchgen.costs_of_batches.paid_usd is 'What they cost, in US dollars.';
comment on column batchgen.costs_of_batches.unknown is
  'How many orders may or may not have been charged: see charges, where is_unknown.';
comment on column batchgen.costs_of_batches.unknown_usd is 'What these cost if all of them were charged.';

create view batchgen.costs_of_users with (security_invoker = on) as
select c.user_id, count(*) filter (where c.entry = 'attempt') as attempts, count(*) filter (where c.is_paid) as paid,
  sum(c.amount_usd) as paid_usd, count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c group by c.user_id;
revoke all on batchgen.costs_of_users from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_users is 'What each user''s pictures cost.';
comment on column batchgen.costs_of_users.user_id is 'The user; zeros for nobody''s items.';
comment on column batchgen.costs_of_users.attempts is 'How many attempts there were.';
comment on column batchgen.costs_of_users.paid is 'How many orders were charged.';
comment on column batchgen.costs_of_users.paid_usd is 'What they cost, in US dollars.';
comment on column batchgen.costs_of_users.unknown is
  'How many orders may or may not have been charged: see charges, where is_unknown.';
comment on column batchgen.costs_of_users.unknown_usd is 'What these cost if all of them were charged.';

create view batchgen.costs_of_models with (security_invoker = on) as
select c.model_id, m.display_name as model, c.provider, count(*) filter (where c.entry = 'attempt') as attempts,
  count(*) filter (where c.is_paid) as paid, sum(c.amount_usd) as paid_usd,
  count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c left join public.models m on m.id = c.model_id
group by c.model_id, m.display_name, c.provider;
revoke all on batchgen.costs_of_models from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_models is 'What the pictures of each model cost, by provider.';
comment on column batchgen.costs_of_models.model_id is 'models.id; zeros for items that name no model.';
comment on column batchgen.costs_of_models.model is 'The model''s display name.';
comment on column batchgen.costs_of_models.provider is 'Where its pictures were made.';
comment on column batchgen.costs_of_models.attempts is 'How many attempts there were.';
comment on column batchgen.costs_of_models.paid is 'How many orders were charged.';
comment on column batchgen.costs_of_models.paid_usd is 'What they cost, in US dollars.';
comment on column batchgen.costs_of_models.unknown is
  'How many orders may or may not have been charged: see charges, where is_unknown.';
comment on column batchgen.costs_of_models.unknown_usd is 'What these cost if all of them were charged.';

create view batchgen.costs_of_days with (security_invoker = on) as
select (c.noted_at at time zone 'UTC')::date as day, count(*) filter (where c.entry = 'attempt') as attempts,
  count(*) filter (where c.is_paid) as paid, sum(c.amount_usd) as paid_usd,
  count(*) filter (where c.is_unknown) as unknown,
  coalesce(sum(c.price_usd) filter (where c.is_unknown), 0) as unknown_usd
from batchgen.charges c group by (c.noted_at at time zone 'UTC')::date;
revoke all on batchgen.costs_of_days from public, anon, authenticated, service_role;
comment on view batchgen.costs_of_days is 'What each day cost.';
comment on column batchgen.costs_of_days.day is 'The day in UTC on which the costs were noted.';
comment on column batchgen.costs_of_days.attempts is 'How many attempts there were.';
comment on column batchgen.costs_of_days.paid is 'How many orders were charged.';
comment on column batchgen.costs_of_days.paid_usd is 'What they cost, in US dollars.';
comment on column batchgen.costs_of_days.unknown is
  'How many orders may or may not have been charged: see charges, where is_unknown.';
comment on column batchgen.costs_of_days.unknown_usd is 'What these cost if all of them were charged.';
