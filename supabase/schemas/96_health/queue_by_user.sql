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
