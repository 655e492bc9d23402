-- before_schedule_written()
-- Keep the plan of a schedule in step with its times, whoever writes them: a user's call, or an admin in the Table
-- Editor. New times are planned from now on. Slots that pass while a schedule is paused do not run.
create function batchgen.before_schedule_written() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op = 'UPDATE' and (new.cron, new.run_at, new.time_zone) is not distinct from
    (old.cron, old.run_at, old.time_zone)
  then
    if old.paused_at is not null and new.paused_at is null then
      new.slots := array(select s from unnest(new.slots) s where s > clock_timestamp() order by s);
      new.planned_until := greatest(new.planned_until, clock_timestamp());
      new.retry_at := null;
    end if;
    return new;
  end if;
  if tg_op = 'UPDATE' and new.run_at is distinct from old.run_at and new.run_at is not null then
    new.cron := case when new.cron is distinct from old.cron then new.cron end;
  elsif tg_op = 'UPDATE' and new.cron is distinct from old.cron and new.cron is not null then
    new.run_at := null;
  end if;
  new.time_zone := batchgen.read_time_zone(new.time_zone);
  if new.cron is not null then
    new.cron := batchgen.read_cron(new.cron);
  end if;
  new.version := case when tg_op = 'UPDATE' then old.version + 1 else 1 end;
  new.slots := case when new.cron is null then array[new.run_at] else '{}' end;
  new.planned_until := case when new.cron is null then 'infinity' else clock_timestamp() end;
  new.retry_at := null;
  new.problem := null;
  return new;
end
$$;
revoke execute on function batchgen.before_schedule_written() from public, anon, authenticated, service_role;
comment on function batchgen.before_schedule_written() is 'Keeps the plan of a schedule in step with its times.';

create trigger before_schedule_written
before insert or update of cron, run_at, time_zone, paused_at on batchgen.batch_schedules
for each row execute function batchgen.before_schedule_written();
