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

-- Views of the queue's state for admins, in the dashboard's Table Editor (choose the schema batchgen) or in SQL. They
-- name users by id and show no prompt. No role has any grant on them: they read with the caller's rights, and only the
-- owner of the tables can read those.

-- Items by state, and how long the longest-waiting one has been due.
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
comment on view batchgen.queue_by_user is 'Queued items by user.';
comment on column batchgen.queue_by_user.user_id is 'The user; the zero UUID for items without an owner.';
comment on column batchgen.queue_by_user.running is 'Running items of the user.';
comment on column batchgen.queue_by_user.waiting is 'Items of the user that are due and wait for a slot.';
comment on column batchgen.queue_by_user.delayed is 'Items of the user that wait for their next attempt.';
comment on column batchgen.queue_by_user.parked is 'Items of the user whose provider or model is paused.';
comment on column batchgen.queue_by_user.oldest_wait is 'How long the longest-waiting item of the user has been due.';

create view batchgen.queue_by_worker with (security_invoker = on) as
select q.worker, count(*) as running,
  count(*) filter (where q.lease_expires_at <= now()) as expired_leases,
  date_trunc('second', now() - min(q.started_at)) as longest_run,
  min(q.lease_expires_at) as first_lease_expires_at
from batchgen.queue q
where q.state = 'running'
group by q.worker;
revoke all on batchgen.queue_by_worker from public, anon, authenticated, service_role;
comment on view batchgen.queue_by_worker is 'Running items by worker.';
comment on column batchgen.queue_by_worker.worker is 'Name of the worker.';
comment on column batchgen.queue_by_worker.running is 'Items that the worker runs.';
comment on column batchgen.queue_by_worker.expired_leases is
  'Items whose lease the worker did not renew in time: it is gone, or cut off.';
comment on column batchgen.queue_by_worker.longest_run is 'Age of its oldest running attempt.';
comment on column batchgen.queue_by_worker.first_lease_expires_at is 'End of the first of its leases unless renewed.';

create view batchgen.queue_health with (security_invoker = on) as
select h.*,
  case
    when h.overdue_leases > 0
      then 'Leases expired more than a minute ago, and no worker took the items back: is a worker running?'
    when h.waiting > 0 and h.running = 0 and h.oldest_wait > interval '1 minute' then case
      when h.live_workers = 0 then 'Items wait and none runs: is a worker running?'
      else 'Items wait and none runs, although a worker calls: batch_waits says why each item waits.'
    end
    when h.delayed + h.parked > 0 and h.running = 0 and h.live_workers = 0
      then 'Items are delayed or parked, and no worker calls: is a worker running?'
    when h.parked > 0 then 'Items wait for a paused provider or model: see queue_by_model.'
    when h.running >= h.running_at_most then 'The limit of running items is reached: see settings.max_parallel_global.'
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
comment on view batchgen.queue_health is 'State of the queue in one row; remark says what needs attention.';
comment on column batchgen.queue_health.waiting is 'Items that are due and wait for a slot.';
comment on column batchgen.queue_health.delayed is 'Items that wait for their next attempt.';
comment on column batchgen.queue_health.parked is 'Items that are due, but whose provider or model is paused.';
comment on column batchgen.queue_health.suspects is
  'Items, in any state, that a worker ran when it died: they run alone until an attempt has ended.';
comment on column batchgen.queue_health.users is 'Users with waiting or running items.';
comment on column batchgen.queue_health.workers is 'Workers that run items.';
comment on column batchgen.queue_health.oldest_wait is 'How long the longest-waiting item has been due.';
comment on column batchgen.queue_health.expired_leases is
  'Running items whose lease has expired: their worker is gone, and the next claim takes them back.';
comment on column batchgen.queue_health.overdue_leases is
  'Running items whose lease expired more than a minute ago: no worker claims.';
comment on column batchgen.queue_health.running_at_most is 'max_parallel_global in batchgen.settings.';
comment on column batchgen.queue_health.live_workers is
  'Workers that called lately, whether or not they run items: see get_workers().';
comment on column batchgen.queue_health.providers_paused is 'Providers that asked to wait and are paused now.';
comment on column batchgen.queue_health.breakers_open is
  'Models that are paused, or probed with one item, because they kept failing.';
comment on column batchgen.queue_health.failed_last_hour is 'Items that failed within the last hour.';
comment on column batchgen.queue_health.running is 'Running items.';
comment on column batchgen.queue_health.remark is 'What an admin should check; empty if all is well.';

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
comment on view batchgen.recent_failures is 'Error codes of items that failed within the last seven days.';
comment on column batchgen.recent_failures.code is
  'Error code for programs; the message for people is image_generations.error_message.';
comment on column batchgen.recent_failures.last_hour is 'Items that failed with this code within the last hour.';
comment on column batchgen.recent_failures.last_day is 'Items that failed with this code within the last day.';
comment on column batchgen.recent_failures.last_week is 'Items that failed with this code within the last seven days.';
comment on column batchgen.recent_failures.last_failed_at is 'When the last item failed with this code.';
