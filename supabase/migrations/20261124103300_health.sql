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
comment on view batchgen.queue_by_model is
  'What waits and runs, by model, and whether the model or its provider is paused.';
comment on column batchgen.queue_by_model.model_id is 'The model; zeros for items that name none.';
comment on column batchgen.queue_by_model.model is 'models.display_name.';
comment on column batchgen.queue_by_model.provider is 'The provider that runs the model.';
comment on column batchgen.queue_by_model.running is 'Items of the model that run.';
comment on column batchgen.queue_by_model.waiting is 'Items of the model that are due and wait for a slot.';
comment on column batchgen.queue_by_model.delayed is 'Items of the model that wait for their next attempt.';
comment on column batchgen.queue_by_model.parked is 'Items of the model that are not to be run now.';
comment on column batchgen.queue_by_model.oldest_wait is
  'How long the item of the model has been due that waits longest.';
comment on column batchgen.queue_by_model.provider_paused_until is
  'The provider asked to wait until then. Delete its row of batchgen.providers to ask at once.';
comment on column batchgen.queue_by_model.breaker_open_until is
  'The model kept failing: nothing starts until then, afterwards one item at a time. Delete its row of '
  'batchgen.breakers to let all run.';
comment on column batchgen.queue_by_model.faults is
  'Items that failed by the provider''s fault since the last success, as far as they are counted.';

-- How the queue is, for admins: views in the schema batchgen, to be read in the dashboard's Table Editor (choose the
-- schema batchgen) or in SQL. They name users by id and show no prompt. Nobody is granted anything: they read as their
-- caller, and but for the owner of the tables nobody reads those.

-- How many items are in which state, and since when the one that waits longest has been due.
create view batchgen.queue_by_user with (security_invoker = on) as
select q.user_id,
  count(*) filter (where q.state = 'running') as running,
  count(*) filter (where q.state = 'waiting') as waiting,
  count(*) filter (where q.state = 'delayed') as delayed,
  count(*) filter (where q.state = 'parked') as parked,
  date_trunc('second', now() - min(q.due_at) filter (where q.state in ('waiting', 'parked'))) as oldest_wait
from batchgen.queue q
group by q.user_id;
revoke all on batchgen.queue_by_user from public, anon, authenticated, service_role;
comment on view batchgen.queue_by_user is 'What waits and runs, by user.';
comment on column batchgen.queue_by_user.user_id is 'The user; zeros for items without an owner.';
comment on column batchgen.queue_by_user.running is 'The user''s items that run.';
comment on column batchgen.queue_by_user.waiting is 'The user''s items that are due and wait for a slot.';
comment on column batchgen.queue_by_user.delayed is 'The user''s items that wait for their next attempt.';
comment on column batchgen.queue_by_user.parked is 'The user''s items whose provider or model is not to be asked now.';
comment on column batchgen.queue_by_user.oldest_wait is 'How long the user''s item has been due that waits longest.';

create view batchgen.queue_by_worker with (security_invoker = on) as
select q.worker, count(*) as running,
  count(*) filter (where q.lease_expires_at <= now()) as expired_leases,
  date_trunc('second', now() - min(q.started_at)) as longest_run,
  min(q.lease_expires_at) as first_lease_expires_at
from batchgen.queue q
where q.state = 'running'
group by q.worker;
revoke all on batchgen.queue_by_worker from public, anon, authenticated, service_role;
comment on view batchgen.queue_by_worker is 'Who runs items now.';
comment on column batchgen.queue_by_worker.worker is 'The worker''s name.';
comment on column batchgen.queue_by_worker.running is 'Items that it runs.';
comment on column batchgen.queue_by_worker.expired_leases is
  'Items whose lease it did not renew in time: it is gone, or cut off.';
comment on column batchgen.queue_by_worker.longest_run is 'How long its oldest attempt has been running.';
comment on column batchgen.queue_by_worker.first_lease_expires_at is
  'When the first of its leases ends if it does not renew them.';

create view batchgen.queue_health with (security_invoker = on) as
select h.*,
  case
    when h.overdue_leases > 0
      then 'Leases ended more than a minute ago and nobody took the items back: does a worker run?'
    when h.waiting > 0 and h.running = 0 and h.oldest_wait > interval '1 minute' then case
      when h.live_workers = 0 then 'Items wait and none runs: does a worker run?'
      else 'Items wait and none runs, although a worker calls: batch_waits says why each item waits.'
    end
    when h.delayed + h.parked > 0 and h.running = 0 and h.live_workers = 0
      then 'Items wait for their time or their provider, and no worker calls: does a worker run?'
    when h.parked > 0 then 'Items wait for a provider or a model that is not to be asked now: see queue_by_model.'
    when h.running >= h.running_at_most then 'As many items run as may: see max_parallel_global in settings.'
  end as remark
from (
  select q.*, s.max_parallel_global as running_at_most,
    (select count(*) from batchgen.live_workers) as live_workers,
    (select count(*) from batchgen.providers p where p.not_before > now()) as providers_paused,
    (select count(*) from batchgen.breakers b where b.opened_until is not null) as breakers_open,
    (select count(*) from batchgen.failures f where f.failed_at > now() - interval '1 hour') as failed_last_hour
  from (
    select count(*) filter (where i.state = 'running') as running,
      count(*) filter (where i.state = 'waiting') as waiting,
      count(*) filter (where i.state = 'delayed') as delayed,
      count(*) filter (where i.state = 'parked') as parked,
      count(*) filter (where i.is_suspect) as suspects,
      count(distinct i.user_id) as users,
      count(distinct i.worker) as workers,
      date_trunc('second', now() - min(i.due_at) filter (where i.state in ('waiting', 'parked'))) as oldest_wait,
      count(*) filter (where i.lease_expires_at <= now()) as expired_leases,
      count(*) filter (where i.lease_expires_at <= now() - interval '1 minute') as overdue_leases
    from batchgen.queue i
  ) q
  cross join batchgen.settings s
) h;
revoke all on batchgen.queue_health from public, anon, authenticated, service_role;
comment on view batchgen.queue_health is 'How the queue is now, in one row; remark says what to look at.';
comment on column batchgen.queue_health.waiting is 'Items that are due and wait for a slot.';
comment on column batchgen.queue_health.delayed is 'Items that wait for their next attempt.';
comment on column batchgen.queue_health.parked is
  'Items that are due, but whose provider or model is not to be asked now.';
comment on column batchgen.queue_health.suspects is
  'Items that a dead worker had, in whichever state: they run alone until an attempt has ended.';
comment on column batchgen.queue_health.users is 'Users with items that wait or run.';
comment on column batchgen.queue_health.workers is 'Workers that run items.';
comment on column batchgen.queue_health.oldest_wait is 'How long the item has been due that waits longest.';
comment on column batchgen.queue_health.expired_leases is
  'Running items whose lease has ended: their worker is gone, and the next claim takes them back.';
comment on column batchgen.queue_health.overdue_leases is
  'Those whose lease ended more than a minute ago: nobody claims.';
comment on column batchgen.queue_health.running_at_most is 'max_parallel_global of batchgen.settings.';
comment on column batchgen.queue_health.live_workers is
  'Workers that have called lately, whether or not they run items: see get_workers().';
comment on column batchgen.queue_health.providers_paused is 'Providers that asked to wait and are not asked now.';
comment on column batchgen.queue_health.breakers_open is
  'Models that are left alone, or tried with one item, because they kept failing.';
comment on column batchgen.queue_health.failed_last_hour is 'Items that failed within the last hour.';
comment on column batchgen.queue_health.running is 'Items that run.';
comment on column batchgen.queue_health.remark is 'What an admin should look at; empty where all is well.';

create view batchgen.recent_failures with (security_invoker = on) as
select f.code,
  count(*) filter (where f.failed_at > now() - interval '1 hour') as last_hour,
  count(*) filter (where f.failed_at > now() - interval '1 day') as last_day,
  count(*) as last_week,
  max(f.failed_at) as last_failed_at
from batchgen.failures f
where f.failed_at > now() - interval '7 days'
group by f.code;
revoke all on batchgen.recent_failures from public, anon, authenticated, service_role;
comment on view batchgen.recent_failures is 'Why items failed within the last seven days.';
comment on column batchgen.recent_failures.code is
  'The reason, as a word; the sentence is image_generations.error_message.';
comment on column batchgen.recent_failures.last_hour is 'Items that failed so within the last hour.';
comment on column batchgen.recent_failures.last_day is 'Items that failed so within the last day.';
comment on column batchgen.recent_failures.last_week is 'Items that failed so within the last seven days.';
comment on column batchgen.recent_failures.last_failed_at is 'When the last item failed so.';
