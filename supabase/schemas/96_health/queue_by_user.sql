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
