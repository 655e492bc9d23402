create function batchgen.before_settings_updated() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := now();
  return new;
end
$$;
revoke execute on function batchgen.before_settings_updated() from public, anon, authenticated, service_role;
comment on function batchgen.before_settings_updated() is 'Trigger: sets updated_at.';

create trigger before_settings_updated before update on batchgen.settings
for each row execute function batchgen.before_settings_updated();

-- after_settings_updated()
-- Mark all waiting users as touched when the per-user limit changes: a higher one makes more of their rows ready.
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
  'Trigger: marks waiting users as touched when the limit per user changes.';

create trigger after_settings_updated after update on batchgen.settings
for each row execute function batchgen.after_settings_updated();
