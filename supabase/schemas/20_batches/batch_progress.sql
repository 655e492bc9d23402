-- Without security_invoker, a view bypasses row level security.
alter view public.batch_progress set (security_invoker = on);
revoke all on public.batch_progress from anon, authenticated, service_role;
grant select on public.batch_progress to authenticated, service_role;

comment on view public.batch_progress is
  'One row per batch with its counts and its items as JSON, for progress displays.';
comment on column public.batch_progress.id is 'Id of the batch.';
comment on column public.batch_progress.user_id is 'Owner of the batch.';
comment on column public.batch_progress.total_count is 'Number of items at submission.';
comment on column public.batch_progress.completed_count is 'Number of completed items.';
comment on column public.batch_progress.failed_count is 'Number of failed items.';
comment on column public.batch_progress.status is 'pending, processing, completed, partial or failed.';
comment on column public.batch_progress.processing_count is 'Number of running items.';
comment on column public.batch_progress.items is
  'Items in order: {id, index, prompt, status, progress}; progress is 0, 50, 100, or -1 for failed.';
