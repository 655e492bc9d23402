create view batchgen.queue_by_model with (security_invoker = on) as
select q.model_id, m.display_name as model, batchgen.provider_of(q.model_id) as provider,
  q.running, q.waiting, q.delayed, q.parked, q.oldest_wait,
  (select p.not_before from batchgen.providers p where p.name = batchgen.provider_of(q.model_id)
    and p.not_before > now()) as provider_paused_until,
  b.opened_until as breaker_open_until,
  coalesce(cardinality(b.failed_generation_ids), 0) as faults
from (
  select i.model_id,
    count(*) filter (where i.state = 'running') as running,
    count(*) filter (where i.state = 'waiting') as waiting,
    count(*) filter (where i.state = 'delayed') as delayed,
    count(*) filter (where i.state = 'parked') as parked,
    date_trunc('second', now() - min(i.due_at) filter (where i.state in ('waiting', 'parked'))) as oldest_wait
  from batchgen.queue i
  group by i.model_id
) q
left join public.models m on m.id = q.model_id
left join batchgen.breakers b on b.model_id = q.model_id;
revoke all on batchgen.queue_by_model from public, anon, authenticated, service_role;
comment on view batchgen.queue_by_model is 'Queued items by model, and whether the model or its provider is paused.';
comment on column batchgen.queue_by_model.model_id is 'The model; the zero UUID for items without a model.';
comment on column batchgen.queue_by_model.model is 'models.display_name.';
comment on column batchgen.queue_by_model.provider is 'The provider that runs the model.';
comment on column batchgen.queue_by_model.running is 'Running items of the model.';
comment on column batchgen.queue_by_model.waiting is 'Items of the model that are due and wait for a slot.';
comment on column batchgen.queue_by_model.delayed is 'Items of the model that wait for their next attempt.';
comment on column batchgen.queue_by_model.parked is 'Items of the model that are due but paused.';
comment on column batchgen.queue_by_model.oldest_wait is 'How long the longest-waiting item of the model has been due.';
comment on column batchgen.queue_by_model.provider_paused_until is
  'End of the wait that the provider asked for. Delete its row in batchgen.providers to end the wait now.';
comment on column batchgen.queue_by_model.breaker_open_until is
  'The model kept failing: no item starts before this time, then one at a time. Delete its row in batchgen.breakers '
  'to let all run.';
comment on column batchgen.queue_by_model.faults is
  'Items that failed through the provider''s fault since the last success, as far as they are counted.';
