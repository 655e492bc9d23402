-- Templates of whole requests: save, list, get, rename, delete, publish. A batch is made from one by create_batch with
-- the field template. A user sees their own templates and the public ones; the project's own have no owner.
--
-- In all functions p_user_id is for operators: the user for whom they act, or null for the project itself.
-- Errors of all: PT401 not_signed_in; PT404 user_not_found or template_not_found (not found, or another user's).

-- template_user(p_user_id)
-- The user whose templates a call is about: the signed-in one, or the one that an operator names.
create function batchgen.template_user(p_user_id uuid) returns uuid
language plpgsql stable security definer set search_path = '' as $$
begin
  if batchgen.is_operator() then
    if p_user_id is not null and not exists (select from auth.users u where u.id = p_user_id) then
      perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
        'Use the id of a row in auth.users.', null, null, 'PT404');
    end if;
    return p_user_id;
  end if;
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id <> auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Leave it out.', null, null, 'PT404');
  end if;
  return auth.uid();
end
$$;
revoke execute on function batchgen.template_user(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.template_user(uuid) is 'The user whose templates a call is about.';

-- own_template(p_template_id, p_user_id)
-- A template that the caller may change, locked: a user's own; for an operator who acts for nobody, any.
create function batchgen.own_template(p_template_id uuid, p_user_id uuid) returns batchgen.batch_templates
language plpgsql security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.template_user(p_user_id);
  v_template batchgen.batch_templates;
begin
  select t.* into v_template from batchgen.batch_templates t
  where t.id = p_template_id and (v_user_id is null or t.user_id = v_user_id) for update;
  if not found then
    perform batchgen.refuse_template('p_template_id');
  end if;
  return v_template;
end
$$;
revoke execute on function batchgen.own_template(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.own_template(uuid, uuid) is 'A template that the caller may change, locked; or PT404.';

-- placeholders_as_json(p_template)
-- [{name, default, in_settings}]: default is null if a value is required; in_settings: used outside the prompts, so
-- that rows of one batch must have the same value.
create function batchgen.placeholders_as_json(p_template batchgen.batch_templates) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'name', n.name, 'default', p_template.defaults -> n.name,
    'in_settings', n.name = any (batchgen.placeholders_of(p_template.request - 'prompts'))
  ) order by n.nth), '[]')
  from unnest(batchgen.placeholders_of(p_template.request)) with ordinality n (name, nth)
$$;
revoke execute on function batchgen.placeholders_as_json(batchgen.batch_templates)
from public, anon, authenticated, service_role;
comment on function batchgen.placeholders_as_json(batchgen.batch_templates) is
  'The placeholders of a template with their defaults.';

-- template_answer(p_template, p_user_id)
-- {template: {id, name, request, defaults, placeholders, is_public, is_own, created_at, updated_at}}.
create function batchgen.template_answer(p_template batchgen.batch_templates, p_user_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object('template', jsonb_build_object(
    'id', p_template.id, 'name', p_template.name, 'request', p_template.request, 'defaults', p_template.defaults,
    'placeholders', batchgen.placeholders_as_json(p_template), 'is_public', p_template.is_public,
    'is_own', p_template.user_id is not distinct from p_user_id, 'created_at', p_template.created_at,
    'updated_at', p_template.updated_at
  ))
$$;
revoke execute on function batchgen.template_answer(batchgen.batch_templates, uuid)
from public, anon, authenticated, service_role;
comment on function batchgen.template_answer(batchgen.batch_templates, uuid) is
  'A template as the functions return it.';

create function batchgen_api.list_batch_templates(p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.template_user(p_user_id);
begin
  return jsonb_build_object('templates', coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', (l.t).id, 'name', (l.t).name, 'placeholders', batchgen.placeholders_as_json(l.t),
      'prompts', jsonb_array_length((l.t).request -> 'prompts'), 'is_public', (l.t).is_public, 'is_own', l.is_own,
      'created_at', (l.t).created_at, 'updated_at', (l.t).updated_at
    ) order by l.is_own desc, (l.t).name, (l.t).id)
    from (
      select t, t.user_id is not distinct from v_user_id as is_own from batchgen.batch_templates t
      where t.user_id is not distinct from v_user_id or t.is_public
      order by is_own desc, t.name, t.id limit 1000
    ) l
  ), '[]'));
end
$$;
revoke execute on function batchgen_api.list_batch_templates(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.list_batch_templates(uuid) to authenticated, service_role;
comment on function batchgen_api.list_batch_templates(uuid) is 'Behind public.list_batch_templates.';

-- list_batch_templates(p_user_id)
-- {templates: [{id, name, placeholders, prompts, is_public, is_own, created_at, updated_at}, …]}: the caller's own by
-- name, then the public ones of others; at most 1,000. prompts: how many the template has.
-- Caller: authenticated; service_role, for a user or for the project.
create function public.list_batch_templates(p_user_id uuid default null) returns jsonb
language sql stable set search_path = '' as $$
  select batchgen_api.list_batch_templates(p_user_id)
$$;
revoke execute on function public.list_batch_templates(uuid) from public, anon, authenticated, service_role;
grant execute on function public.list_batch_templates(uuid) to authenticated, service_role;
comment on function public.list_batch_templates(uuid) is
  'Lists the caller''s own templates and the public ones.';

create function batchgen_api.get_batch_template(p_template_id uuid, p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.template_user(p_user_id);
  v_template batchgen.batch_templates;
begin
  select t.* into v_template from batchgen.batch_templates t
  where t.id = p_template_id and (v_user_id is null or t.user_id = v_user_id or t.is_public);
  if not found then
    perform batchgen.refuse_template('p_template_id');
  end if;
  return batchgen.template_answer(v_template, v_user_id);
end
$$;
revoke execute on function batchgen_api.get_batch_template(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_batch_template(uuid, uuid) to authenticated, service_role;
comment on function batchgen_api.get_batch_template(uuid, uuid) is 'Behind public.get_batch_template.';

-- get_batch_template(p_template_id, p_user_id)
-- One template with its request: batchgen.template_answer.
-- Caller: authenticated, for their own and public ones; service_role, for a user's, or for any.
create function public.get_batch_template(p_template_id uuid, p_user_id uuid default null) returns jsonb
language sql stable set search_path = '' as $$
  select batchgen_api.get_batch_template(p_template_id, p_user_id)
$$;
revoke execute on function public.get_batch_template(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_batch_template(uuid, uuid) to authenticated, service_role;
comment on function public.get_batch_template(uuid, uuid) is
  'Returns one template with its request and placeholders.';

create function batchgen_api.rename_batch_template(p_template_id uuid, p_name text, p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates := batchgen.own_template(p_template_id, p_user_id);
  v_name text := batchgen.read_template_name(p_name, 'p_name');
begin
  if v_name <> v_template.name then
    update batchgen.batch_templates t
    set name = v_name, is_public = t.is_public and batchgen.is_operator(), updated_at = clock_timestamp()
    where t.id = p_template_id and not exists (
      select from batchgen.batch_templates o
      where o.user_id is not distinct from v_template.user_id and o.name = v_name
    )
    returning t.* into v_template;
    if not found then
      perform batchgen.refuse_template_name(v_name, 'p_name');
    end if;
  end if;
  return batchgen.template_answer(v_template, batchgen.template_user(p_user_id));
exception when unique_violation then
  perform batchgen.refuse_template_name(v_name, 'p_name');
end
$$;
revoke execute on function batchgen_api.rename_batch_template(uuid, text, uuid)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.rename_batch_template(uuid, text, uuid) to authenticated, service_role;
comment on function batchgen_api.rename_batch_template(uuid, text, uuid) is 'Behind public.rename_batch_template.';

-- rename_batch_template(p_template_id, p_name, p_user_id)
-- Give a template another name. A public one becomes private, unless an operator renames it.
-- Caller: authenticated, for their own; service_role, for a user's, or for any.
-- Errors: PT409 name_taken; PT422 for an invalid name.
create function public.rename_batch_template(p_template_id uuid, p_name text, p_user_id uuid default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.rename_batch_template(p_template_id, p_name, p_user_id)
$$;
revoke execute on function public.rename_batch_template(uuid, text, uuid)
from public, anon, authenticated, service_role;
grant execute on function public.rename_batch_template(uuid, text, uuid) to authenticated, service_role;
comment on function public.rename_batch_template(uuid, text, uuid) is
  'Gives a template another name.';

create function batchgen_api.delete_batch_template(p_template_id uuid, p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates := batchgen.own_template(p_template_id, p_user_id);
begin
  delete from batchgen.batch_templates t where t.id = v_template.id;
  return jsonb_build_object('deleted', v_template.id);
end
$$;
revoke execute on function batchgen_api.delete_batch_template(uuid, uuid)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.delete_batch_template(uuid, uuid) to authenticated, service_role;
comment on function batchgen_api.delete_batch_template(uuid, uuid) is 'Behind public.delete_batch_template.';

-- delete_batch_template(p_template_id, p_user_id)
-- Delete a template: {deleted: its id}. Batches that were made from it stay.
-- Caller: authenticated, for their own; service_role, for a user's, or for any.
create function public.delete_batch_template(p_template_id uuid, p_user_id uuid default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.delete_batch_template(p_template_id, p_user_id)
$$;
revoke execute on function public.delete_batch_template(uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_batch_template(uuid, uuid) to authenticated, service_role;
comment on function public.delete_batch_template(uuid, uuid) is
  'Deletes a template; batches made from it stay.';

create function batchgen_api.publish_batch_template(p_template_id uuid, p_is_public boolean) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_template batchgen.batch_templates := batchgen.own_template(p_template_id, null);
begin
  update batchgen.batch_templates t set is_public = coalesce(p_is_public, false) where t.id = p_template_id
  returning t.* into v_template;
  return batchgen.template_answer(v_template, null);
end
$$;
revoke execute on function batchgen_api.publish_batch_template(uuid, boolean)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.publish_batch_template(uuid, boolean) to service_role;
comment on function batchgen_api.publish_batch_template(uuid, boolean) is 'Behind public.publish_batch_template.';

-- publish_batch_template(p_template_id, p_is_public)
-- Let every signed-in user read and use a template, or no longer.
-- Caller: service_role.
create function public.publish_batch_template(p_template_id uuid, p_is_public boolean) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.publish_batch_template(p_template_id, p_is_public)
$$;
revoke execute on function public.publish_batch_template(uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function public.publish_batch_template(uuid, boolean) to service_role;
comment on function public.publish_batch_template(uuid, boolean) is
  'For operators: lets every user read and use a template, or no longer.';
