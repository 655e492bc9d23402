-- Templates: bounded, counted, and public only by an admin.

create function batchgen.refuse_publishing() returns void
language plpgsql set search_path = '' as $$
begin
  perform batchgen.refuse('not_writable', 'Only an admin can make a template public.', 'is_public',
    'Save it as private, and ask an admin to publish it.', null, null, 'PT403');
end
$$;
revoke execute on function batchgen.refuse_publishing() from public, anon, authenticated, service_role;
comment on function batchgen.refuse_publishing() is 'Refuses a template that a user makes public.';

create function batchgen.before_template_written_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.refuse_strangers(case when tg_op = 'INSERT' then new.user_id else old.user_id end);
  if tg_op = 'DELETE' then
    return old;
  end if;
  perform batchgen.refuse_strangers(new.user_id);
  perform batchgen.check_text(new.name, 'name', 200);
  perform batchgen.check_text(new.category, 'category', 200);
  perform batchgen.check_prompt(new.prompt, 'prompt');
  perform batchgen.check_prompt(new.negative_prompt, 'negative_prompt');
  if tg_op = 'INSERT' then
    if coalesce(new.use_count, 0) <> 0 then
      perform batchgen.refuse_column('use_count');
    end if;
    if new.is_public then
      perform batchgen.refuse_publishing();
    end if;
    return new;
  end if;
  if new.use_count is distinct from old.use_count then
    perform batchgen.refuse_column('use_count');
  end if;
  if new.is_public and old.is_public is not true then
    perform batchgen.refuse_publishing();
  end if;
  -- Others see only what an admin has reviewed: an edit makes the template private again.
  if new.is_public and (new.name, new.prompt, new.negative_prompt, new.category)
    is distinct from (old.name, old.prompt, old.negative_prompt, old.category)
  then
    new.is_public := false;
  end if;
  return new;
end
$$;
revoke execute on function batchgen.before_template_written_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.before_template_written_by_app() is
  'Trigger: limits what a user may write to a prompt template.';

create trigger batchgen_app_write before insert or update or delete on public.prompt_templates
for each row
  when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.before_template_written_by_app();

create function batchgen.after_templates_inserted_by_app() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform pg_advisory_xact_lock(hashtextextended('batchgen.templates ' || auth.uid(), 0));
  if exists (select from public.prompt_templates t where t.user_id = auth.uid() offset 1000) then
    perform batchgen.refuse_rows('too_many_templates', 'prompt_templates', 'templates per user', 1000,
      'Delete some of yours first.');
  end if;
  return null;
end
$$;
revoke execute on function batchgen.after_templates_inserted_by_app() from public, anon, authenticated, service_role;
comment on function batchgen.after_templates_inserted_by_app() is
  'Trigger: limits the number of prompt templates per user.';

create trigger batchgen_rows after insert on public.prompt_templates
referencing new table as new_rows for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.after_rows_inserted_by_app('100');

create trigger batchgen_rows_of_user after insert on public.prompt_templates for each statement
when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.after_templates_inserted_by_app();

create trigger batchgen_app_truncate before truncate on public.prompt_templates
for each statement
  when (current_user in ('anon', 'authenticated') or row_security_active('public.prompt_templates'::regclass))
execute function batchgen.refuse_app('Delete your own templates.');
