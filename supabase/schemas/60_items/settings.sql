create function batchgen.before_settings_updated() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_settings_updated() from public, anon, authenticated, service_role;
comment on function batchgen.before_settings_updated() is 'Trigger: notes when a setting was changed.';

create trigger before_settings_updated before update on batchgen.settings
for each row execute function batchgen.before_settings_updated();

-- after_settings_updated()
-- A raised per-user limit makes more rows of every waiting user ready; the next claim marks them.
create function batchgen.after_settings_updated() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.max_parallel_per_user is distinct from old.max_parallel_per_user then
    insert into batchgen.touched (user_id) select distinct user_id from batchgen.queue where state = 'waiting';
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_settings_updated() from public, anon, authenticated, service_role;
comment on function batchgen.after_settings_updated() is
  'Trigger: a changed limit per user touches the users who wait.';

create trigger after_settings_updated after update on batchgen.settings
for each row execute function batchgen.after_settings_updated();
