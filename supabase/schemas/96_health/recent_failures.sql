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
