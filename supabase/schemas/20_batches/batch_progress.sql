-- A view reads past row level security unless it runs as its caller.
alter view public.batch_progress set (security_invoker = on);
revoke all on public.batch_progress from anon, authenticated, service_role;
grant select on public.batch_progress to authenticated, service_role;

comment on view public.batch_progress is
  'One row per batch with its counts and its items as JSON, for progress displays.';
comment on column public.batch_progress.id is 'The batch.';
comment on column public.batch_progress.user_id is 'Whose batch it is.';
comment on column public.batch_progress.total_count is 'How many items it has, or had.';
comment on column public.batch_progress.completed_count is 'How many items are completed.';
comment on column public.batch_progress.failed_count is 'How many items are failed.';
comment on column public.batch_progress.status is 'pending, processing, completed, partial or failed.';
comment on column public.batch_progress.processing_count is 'How many items run now.';
comment on column public.batch_progress.items is
  'The items in their order: {id, index, prompt, status, progress}; progress is 0, 50, 100, or -1 for failed.';
