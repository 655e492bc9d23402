-- The app's direct writes to items and batches, with its users' own tokens: the few that it has always sent become
-- valid transitions; all others are refused or have no effect. Triggers enforce the rules, whatever policies and grants
-- a project has; a new project also gets policies and grants that let those few writes through.
--
-- The triggers apply to every caller under row level security, and to anon and authenticated in any case. They ignore
-- statements with the owner's rights (batchgen's functions, foreign keys), service_role and admins.
--
-- SQLSTATE PT403 (HTTP 403): not_yours, not_writable. SQLSTATE PT422: not_allowed, too_long, out_of_range: values that
-- such a row cannot have. PT429: too_many_rows, too_many_tags, too_many_templates, too_many_pictures, and the limits of
-- a user.

create function batchgen.refuse_strangers(p_user_id uuid) returns void
language plpgsql set search_path = '' as $$
begin
  if not batchgen.is_own(p_user_id) then
    perform batchgen.refuse('not_yours', 'This row belongs to another user.', 'user_id', 'Write only your own rows.',
      null, null, 'PT403');
  end if;
end
$$;
revoke execute on function batchgen.refuse_strangers(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_strangers(uuid) is 'Refuses a row of another user.';

create function batchgen.refuse_column(p_field text) returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('not_writable', format('%s cannot be set directly.', p_field), p_field, 'Leave it as it is.',
    null, null, 'PT403');
end
$$;
revoke execute on function batchgen.refuse_column(text) from public, anon, authenticated, service_role;
comment on function batchgen.refuse_column(text) is 'Refuses a change of a column.';

-- refuse_changes(p_old, p_new, p_except)
-- Refuse a change of any column that p_except does not name.
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
  'Refuses changes of all columns except those named.';

-- refuse_app()
-- Refuse a statement that the app may never send. The trigger's argument is the remedy.
create function batchgen.refuse_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse('not_allowed', format('%s on %s is not allowed.', tg_op, tg_table_name), null, tg_argv[0],
    null, null, 'PT403');
  return null;
end
$$;
revoke execute on function batchgen.refuse_app() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_app() is 'Trigger: refuses a statement that the app may never send.';

-- after_rows_inserted_by_app()
-- Limit the rows of one INSERT to the trigger's argument.
create function batchgen.after_rows_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if (select count(*) from new_rows) > tg_argv[0]::integer then
    perform batchgen.refuse_rows('too_many_rows', tg_table_name, 'rows per request', tg_argv[0]::integer,
      'Send fewer at once.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_rows_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_rows_inserted_by_app() is 'Trigger: limits the rows that a user inserts at once.';
