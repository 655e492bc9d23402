-- The app's direct writes to items and batches, with its users' own tokens: the few that it has always sent become
-- proper transitions, and everything else is refused or without effect. The rules stand in triggers, so that they hold
-- whatever policies and grants a project has; a new project gets policies and grants beside them that let those few
-- through.
--
-- An app's caller is whoever row level security applies to, and anon and authenticated in any case. What runs with the
-- owner's rights (functions of ours, foreign keys), service_role and admins is not looked at by any of these triggers.
--
-- SQLSTATE PT403 (HTTP 403): not_yours, not_writable. SQLSTATE PT422: not_allowed, too_long, out_of_range, a value that
-- such a row cannot have. PT429: too_many_rows, too_many_tags, too_many_templates, too_many_pictures, and the limits of
-- a user.

create function batchgen.refuse_strangers(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  if not batchgen.is_own(p_user_id) then
    perform batchgen.refuse('not_yours', 'This row is somebody else''s.', 'user_id', 'Write rows of your own.', null,
      null, 'PT403');
  end if;
end
$$;
revoke execute on function batchgen.refuse_strangers(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_strangers(uuid) is 'Refuses a row of somebody else.';

create function batchgen.refuse_column(p_field text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('not_writable', format('%s is not set by hand.', p_field), p_field, 'Leave it as it is.',
    null, null, 'PT403');
end
$$;
revoke execute on function batchgen.refuse_column(text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_column(text) is 'Refuses a change of a column.';

-- refuse_changes(p_old, p_new, p_except)
-- Refuses a changed column, all but those that are named.
create function batchgen.refuse_changes(p_old jsonb, p_new jsonb, p_except text[]) returns void
language plpgsql set search_path = '' as $$
declare
  v_field text;
begin
  select n.key into v_field from jsonb_each(p_new - p_except) n where n.value is distinct from p_old -> n.key
    order by n.key limit 1;
  if found then
    perform batchgen.refuse_column(v_field);
  end if;
end
$$;
revoke execute on function batchgen.refuse_changes(jsonb, jsonb, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_changes(jsonb, jsonb, text[]) is
  'Refuses changed columns, but for those that are named.';

-- refuse_app()
-- For whatever the app has no business doing at all.
create function batchgen.refuse_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', format('%s on %s is not for users.', tg_op, tg_table_name), null, tg_argv[0],
    null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.refuse_app() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_app() is 'Trigger: refuses what an app has no business doing.';

-- after_rows_inserted_by_app()
-- For statements that insert: at most as many rows as the trigger says.
create function batchgen.after_rows_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if (select count(*) from new_rows) > tg_argv[0]::integer then
    perform batchgen.refuse_rows('too_many_rows', tg_table_name, 'rows are inserted at once', tg_argv[0]::integer,
      'Send fewer at once.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_rows_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_rows_inserted_by_app() is 'Trigger: how many rows a user inserts at once.';
