-- Exports: ZIP files with the pictures of batches, built by workers and kept in a private bucket for some hours.

-- item_facts(p_batch_id)
-- Costs of the items of a batch, and the tags that their request asked for, for the owner of the items or an operator.
-- Caller: batch_manifest, for batches that it can see.
create function batchgen_api.item_facts(p_batch_id uuid)
returns table (generation_id uuid, cost_usd numeric, tags jsonb)
language sql stable security definer set search_path = '' as $$
  select g.id,
    (select sum(l.amount_usd) from batchgen.ledger l where l.generation_id = g.id),
    (select coalesce(jsonb_agg(t.name order by t.name), '[]') from batchgen.generation_tags t
      where t.generation_id = g.id)
  from public.image_generations g
  where g.batch_id = p_batch_id and (g.user_id = auth.uid() or batchgen.is_operator())
$$;
revoke execute on function batchgen_api.item_facts(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.item_facts(uuid) to authenticated, service_role;
comment on function batchgen_api.item_facts(uuid) is
  'Behind public.batch_manifest: costs and requested tags of the items of a batch.';

-- batch_manifest(p_batch_id)
-- {id, user_id, name, status, created_at, completed_at, model_version, items: [{…, pictures: [{…}]}]}: a batch as an
-- export describes it, enough to make its pictures again; null if the caller sees no such batch. Seeds and costs are
-- texts: JavaScript rounds large numbers. provider_model is empty if the caller does not see the model.
-- Caller: authenticated, service_role; each sees what row level security shows.
create function public.batch_manifest(p_batch_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', b.id, 'user_id', b.user_id, 'name', b.name, 'status', b.status, 'created_at', b.created_at,
    'completed_at', b.completed_at, 'model_version', b.model_version,
    'items', coalesce((
      select jsonb_agg(jsonb_build_object(
        'id', g.id, 'index', g.batch_index, 'status', g.status, 'prompt', g.prompt,
        'negative_prompt', g.negative_prompt, 'seed', g.seed::text, 'model', g.model, 'model_id', g.model_id,
        'provider_model', m.replicate_id, 'width', g.width, 'height', g.height, 'steps', g.steps,
        'guidance_scale', g.guidance_scale, 'created_at', g.created_at, 'started_at', g.started_at,
        'completed_at', g.completed_at, 'generation_seconds', g.generation_time_seconds,
        'error_code', g.error_code, 'error_message', g.error_message,
        'cost_usd', trim_scale(f.cost_usd)::text, 'tags', coalesce(f.tags, '[]'),
        'pictures', coalesce((
          select jsonb_agg(jsonb_build_object(
            'id', i.id, 'storage_path', i.storage_path, 'format', i.format, 'width', i.width, 'height', i.height,
            'file_size', i.file_size, 'seed', i.seed::text, 'model_version', i.model_version,
            'created_at', i.created_at, 'is_archived', i.archived_at is not null,
            'tags', coalesce((
              select jsonb_agg(t.name order by t.name)
              from public.image_tags it join public.tags t on t.id = it.tag_id where it.image_id = i.id
            ), '[]')
          ) order by i.created_at, i.id)
          from public.images i where i.generation_id = g.id
        ), '[]')
      ) order by g.batch_index, g.id)
      from public.image_generations g
      left join public.models m on m.id = g.model_id
      left join batchgen_api.item_facts(b.id) f on f.generation_id = g.id
      where g.batch_id = b.id
    ), '[]')
  )
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function public.batch_manifest(uuid) from public, anon, authenticated, service_role;
grant execute on function public.batch_manifest(uuid) to authenticated, service_role;
comment on function public.batch_manifest(uuid) is
  'A batch as an export describes it: each item with its settings, cost, tags and pictures.';

-- Exports that users asked for. A worker builds the ZIP files under a lease and stores them in the private bucket
-- batchgen-exports, each at {user_id}/{export_id}/{attempt}/…. Every file is in the outbox before it is stored, so none
-- outlives its export, whatever happens to the worker.
create table batchgen.exports (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  batch_ids uuid[] not null constraint an_export_has_batches check (cardinality(batch_ids) between 1 and 100),
  status text not null default 'pending'
    constraint export_status_is_known check (status in ('pending', 'processing', 'ready', 'failed')),
  planned_bytes bigint not null constraint planned_bytes_not_negative check (planned_bytes >= 0),
  picture_count integer not null default 0 constraint picture_count_not_negative check (picture_count >= 0),
  done_count integer not null default 0 constraint done_count_not_negative check (done_count >= 0),
  missing_count integer not null default 0 constraint missing_count_not_negative check (missing_count >= 0),
  parts jsonb not null default '[]' constraint parts_is_a_list check (jsonb_typeof(parts) = 'array'),
  files text[] not null default '{}',
  attempts integer not null default 0 constraint export_attempts_in_range check (attempts between 0 and 1000),
  due_at timestamptz not null default now(),
  lease_id uuid,
  lease_expires_at timestamptz,
  worker text,
  error_code text,
  error_message text,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  expires_at timestamptz,
  constraint a_processing_export_has_a_lease check (
    (status = 'processing') = (lease_id is not null) and (lease_id is null) = (lease_expires_at is null)
    and (lease_id is null) = (worker is null)
  ),
  constraint an_ended_export_has_its_time check ((status in ('ready', 'failed')) = (ended_at is not null)),
  constraint a_ready_export_expires check ((status = 'ready') = (expires_at is not null))
);
create index exports_of_a_user on batchgen.exports (user_id, created_at desc);
create unique index exports_open_once on batchgen.exports (user_id, batch_ids)
where status in ('pending', 'processing');
create index exports_open on batchgen.exports (due_at) where status in ('pending', 'processing');

alter table batchgen.exports enable row level security;
create policy "Nobody" on batchgen.exports for all to public using (false);
revoke all on batchgen.exports from public, anon, authenticated, service_role;

comment on table batchgen.exports is
  'ZIP files of batches that users asked for. Ended exports are kept for 30 days, their files for export_hours.';
comment on column batchgen.exports.id is 'Primary key; part of the paths of the files.';
comment on column batchgen.exports.user_id is 'The user who asked, owner of all the batches.';
comment on column batchgen.exports.batch_ids is 'The batches, sorted, each once.';
comment on column batchgen.exports.status is
  'pending: waits for a worker, or for its retry; processing: a worker builds it; ready; failed.';
comment on column batchgen.exports.planned_bytes is
  'Size of the pictures when the user asked; counts against the daily limit.';
comment on column batchgen.exports.picture_count is
  'Pictures: those expected when the user asked, then those in the files.';
comment on column batchgen.exports.done_count is 'Pictures that the current attempt has written.';
comment on column batchgen.exports.missing_count is
  'Items and pictures without a file; the manifests give the reasons.';
comment on column batchgen.exports.parts is 'The files of a ready export: [{name, path, bytes, url}].';
comment on column batchgen.exports.files is 'Paths of all files that any attempt may have stored.';
comment on column batchgen.exports.attempts is 'How often a worker began it.';
comment on column batchgen.exports.due_at is 'Earliest time to take it; moves later after each failed attempt.';
comment on column batchgen.exports.lease_id is 'Lease of the worker that builds it.';
comment on column batchgen.exports.lease_expires_at is 'After this, another worker may take it.';
comment on column batchgen.exports.worker is 'The worker that builds it.';
comment on column batchgen.exports.error_code is 'Why the last attempt failed, for programs.';
comment on column batchgen.exports.error_message is 'Why the last attempt failed, for people.';
comment on column batchgen.exports.created_at is 'When the user asked.';
comment on column batchgen.exports.ended_at is 'When it became ready or failed.';
comment on column batchgen.exports.expires_at is 'When its links end and its files go.';

-- export_answer(p_export)
-- An export as its owner sees it: {id, status, batch_ids, created_at, ended_at, expires_at, pictures, done, missing,
-- attempts, error: {code, message}, parts: [{name, path, bytes, url}]}. status is expired once the links have ended;
-- then there are no parts.
create function batchgen.export_answer(p_export batchgen.exports) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_export.id,
    'status', case when p_export.expires_at <= clock_timestamp() then 'expired' else p_export.status end,
    'user_id', p_export.user_id, 'batch_ids', to_jsonb(p_export.batch_ids), 'created_at', p_export.created_at,
    'ended_at', p_export.ended_at, 'expires_at', p_export.expires_at, 'pictures', p_export.picture_count,
    'done', p_export.done_count, 'missing', p_export.missing_count, 'attempts', p_export.attempts,
    'error', case when p_export.error_code is not null then
      jsonb_build_object('code', p_export.error_code, 'message', p_export.error_message)
    end,
    'parts', case when p_export.expires_at > clock_timestamp() then p_export.parts else '[]' end
  )
$$;
revoke execute on function batchgen.export_answer(batchgen.exports) from public, anon, authenticated, service_role;
comment on function batchgen.export_answer(batchgen.exports) is 'An export as its owner sees it.';

-- get_exports(p_limit)
-- exports_of_any_user, for the signed-in user only.
-- Errors: PT401 if nobody is signed in.
create function batchgen_api.get_exports(p_limit integer) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return (
    select coalesce(jsonb_agg(batchgen.export_answer(e) order by e.created_at desc, e.id), '[]')
    from (
      select x.* from batchgen.exports x where x.user_id = auth.uid()
      order by x.created_at desc, x.id limit greatest(0, least(coalesce(p_limit, 20), 100))
    ) e
  );
end
$$;
revoke execute on function batchgen_api.get_exports(integer) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_exports(integer) to authenticated;
comment on function batchgen_api.get_exports(integer) is 'Behind public.get_exports: for the signed-in user.';

-- exports_of_all_users(p_limit)
-- The newest exports of all users, for operators.
create function batchgen_api.exports_of_all_users(p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(batchgen.export_answer(e) order by e.created_at desc, e.id), '[]')
  from (
    select x.* from batchgen.exports x
    order by x.created_at desc, x.id limit greatest(0, least(coalesce(p_limit, 20), 100))
  ) e
$$;
revoke execute on function batchgen_api.exports_of_all_users(integer) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.exports_of_all_users(integer) to service_role;
comment on function batchgen_api.exports_of_all_users(integer) is 'Behind public.get_exports: for operators.';

-- get_exports(p_limit)
-- [{id, status, batch_ids, created_at, expires_at, pictures, done, missing, error, parts: [{name, path, bytes, url}]},
-- …]: the newest exports, at most 100, newest first; see batchgen.export_answer.
-- Caller: authenticated, for their own; service_role, for all users'.
-- Errors: PT401 if nobody is signed in.
create function public.get_exports(p_limit integer default 20) returns jsonb
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('batchgen_api.exports_of_all_users(integer)', 'execute') then
    return batchgen_api.exports_of_all_users(p_limit);
  end if;
  return batchgen_api.get_exports(p_limit);
end
$$;
revoke execute on function public.get_exports(integer) from public, anon, authenticated, service_role;
grant execute on function public.get_exports(integer) to authenticated, service_role;
comment on function public.get_exports(integer) is
  'The newest exports of the signed-in user, with links while they are ready.';

-- request_export(p_batch_ids)
-- Ask for a ZIP file of batches, for the signed-in user. Returns the open export of the same batches if there is one,
-- else a new one; both as export_answer.
-- States: none -> pending.
-- Locks: the user's row in user_rate_limits, so that two requests at once count each other.
-- Errors: PT401; PT404 batch_not_found; PT422 for arguments, nothing_to_export and export_too_large; PT429
-- daily_exports and daily_export_bytes.
create function batchgen_api.request_export(p_batch_ids uuid[]) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_ids uuid[];
  v_export batchgen.exports;
  v_pictures integer;
  v_bytes bigint;
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  v_ids := batchgen.exported_batches(auth.uid(), p_batch_ids);
  perform batchgen.lock_limits(auth.uid());
  select e.* into v_export from batchgen.exports e
  where e.user_id = auth.uid() and e.batch_ids = v_ids and e.status in ('pending', 'processing');
  if found then
    return batchgen.export_answer(v_export);
  end if;
  select count(*), coalesce(sum(greatest(i.file_size, 0)), 0) into v_pictures, v_bytes
  from public.image_generations g join public.images i on i.generation_id = g.id
  where g.batch_id = any (v_ids) and i.user_id = auth.uid() and i.archived_at is null;
  if v_pictures = 0 then
    perform batchgen.refuse('nothing_to_export', 'These batches have no pictures.', 'p_batch_ids',
      'Wait until the first picture is finished, or choose other batches.');
  end if;
  perform batchgen.refuse_export_over_limit(auth.uid(), v_bytes);
  delete from batchgen.exports e
  where e.user_id = auth.uid() and e.ended_at < clock_timestamp() - interval '30 days';
  insert into batchgen.exports (user_id, batch_ids, planned_bytes, picture_count)
  values (auth.uid(), v_ids, v_bytes, v_pictures) returning * into v_export;
  return batchgen.export_answer(v_export);
end
$$;
revoke execute on function batchgen_api.request_export(uuid[]) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.request_export(uuid[]) to authenticated;
comment on function batchgen_api.request_export(uuid[]) is 'Behind public.request_export: for the signed-in user.';

-- request_export(p_batch_ids)
-- Ask for ZIP files with the pictures of batches; a worker builds them. Returns the export as get_exports does.
-- Repeating the call while an export of the same batches is open returns that export.
-- Caller: authenticated, for batches of their own.
-- Errors: PT401; PT404 batch_not_found; PT422 batches_missing, too_many_batches, nothing_to_export, export_too_large;
-- PT429 daily_exports, daily_export_bytes.
create function public.request_export(p_batch_ids uuid[]) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.request_export(p_batch_ids)
$$;
revoke execute on function public.request_export(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.request_export(uuid[]) to authenticated;
comment on function public.request_export(uuid[]) is
  'Asks for ZIP files with the pictures of the user''s batches; get_exports tells when they are ready.';

-- exported_batches(p_user_id, p_batch_ids)
-- The ids of the batches, sorted, each once. Refuse any that is not the user's.
create function batchgen.exported_batches(p_user_id uuid, p_batch_ids uuid[]) returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
declare
  v_ids uuid[];
begin
  if coalesce(cardinality(p_batch_ids), 0) = 0 then
    perform batchgen.refuse('batches_missing', 'p_batch_ids has no ids.', 'p_batch_ids', 'Send 1 to 100 ids.', null,
      to_jsonb(100));
  end if;
  if cardinality(p_batch_ids) > 100 then
    perform batchgen.refuse('too_many_batches',
      format('p_batch_ids has %s ids; at most 100 are allowed.', cardinality(p_batch_ids)), 'p_batch_ids',
      'Ask for several exports.', null, to_jsonb(100));
  end if;
  v_ids := array(select distinct i.id from unnest(p_batch_ids) i (id) order by 1);
  if exists (
    select from unnest(v_ids) i (id)
    where not exists (select from public.batch_generations b where b.id = i.id and b.user_id = p_user_id)
  ) then
    perform batchgen.refuse('batch_not_found', 'Batch not found, or it belongs to another user.', 'p_batch_ids',
      'Use the ids of your own batches.', null, null, 'PT404');
  end if;
  return v_ids;
end
$$;
revoke execute on function batchgen.exported_batches(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.exported_batches(uuid, uuid[]) is
  'The batches of an export, sorted; refuses those of other users.';

-- refuse_export_over_limit(p_user_id, p_bytes)
-- Refuse an export of p_bytes if it exceeds the number or the bytes of 24 hours. resets_at is when enough of the user's
-- exports no longer count.
create function batchgen.refuse_export_over_limit(p_user_id uuid, p_bytes bigint) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_settings batchgen.settings;
  v_used record;
  v_is_number boolean;
  v_resets_at timestamptz;
  v_message text;
begin
  select s.* into v_settings from batchgen.settings s;
  if p_bytes > v_settings.export_bytes_per_day then
    perform batchgen.refuse('export_too_large', format('The pictures have %s bytes; an export has at most %s.',
      p_bytes, v_settings.export_bytes_per_day), 'p_batch_ids', 'Export fewer batches.', null,
      to_jsonb(v_settings.export_bytes_per_day));
  end if;
  select count(*) as number, coalesce(sum(e.planned_bytes), 0) as bytes into v_used from batchgen.exports e
  where e.user_id = p_user_id and e.created_at > clock_timestamp() - interval '1 day';
  v_is_number := v_used.number >= v_settings.exports_per_day;
  if not v_is_number and v_used.bytes + p_bytes <= v_settings.export_bytes_per_day then
    return;
  end if;
  select min(o.created_at) + interval '1 day' into v_resets_at
  from (
    select e.created_at, row_number() over w as number, sum(e.planned_bytes) over w as bytes
    from batchgen.exports e
    where e.user_id = p_user_id and e.created_at > clock_timestamp() - interval '1 day'
    window w as (order by e.created_at, e.id)
  ) o
  where v_used.number - o.number < v_settings.exports_per_day
    and v_used.bytes - o.bytes + p_bytes <= v_settings.export_bytes_per_day;
  v_message := case
    when v_is_number then format('Your daily limit of exports is reached: %s.', v_settings.exports_per_day)
    else format('Your daily limit of exports is %s bytes: %s are used, and this needs %s more.',
      v_settings.export_bytes_per_day, v_used.bytes, p_bytes)
  end;
  raise exception using errcode = 'PT429', message = v_message, hint = 'Try again after it resets.',
    detail = jsonb_build_object(
      'code', case when v_is_number then 'daily_exports' else 'daily_export_bytes' end, 'message', v_message,
      'index', null, 'field', case when v_is_number then 'exports_per_day' else 'export_bytes_per_day' end,
      'limit', case when v_is_number then v_settings.exports_per_day else v_settings.export_bytes_per_day end,
      'remedy', 'Try again after it resets.', 'resets_at', v_resets_at,
      'retry_after_seconds', ceil(extract(epoch from v_resets_at - clock_timestamp()))
    )::text;
end
$$;
revoke execute on function batchgen.refuse_export_over_limit(uuid, bigint)
from public, anon, authenticated, service_role;
comment on function batchgen.refuse_export_over_limit(uuid, bigint) is
  'Refuses an export that exceeds the user''s daily number or bytes.';

-- take_export(p_worker, p_lease_seconds)
-- Lease the export that is due longest, of a user for whom no other export is being built if there is one. Returns
-- {exports: [{export_id, lease_id, user_id, batch_ids, attempt, part_bytes, link_seconds}]}, with at most one. An
-- export whose lease expired is taken again, at most three times in all; then it fails as crashed.
-- Caller: service_role.
-- States: pending -> processing; processing with an expired lease -> processing or failed.
-- Locks: skips locked rows.
create function public.take_export(p_worker text, p_lease_seconds integer) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports;
  v_settings batchgen.settings;
begin
  perform batchgen.check_worker_arguments(p_worker, p_lease_seconds);
  select s.* into v_settings from batchgen.settings s;
  update batchgen.exports e
  set status = 'failed', ended_at = clock_timestamp(), lease_id = null, lease_expires_at = null, worker = null,
    error_code = 'crashed', error_message = 'The workers that built it stopped unexpectedly.'
  where e.id in (
    select x.id from batchgen.exports x
    where x.status = 'processing' and x.lease_expires_at <= clock_timestamp() and x.attempts >= 3
    for update skip locked
  );
  select e.* into v_export from batchgen.exports e
  where e.status = 'pending' and e.due_at <= clock_timestamp()
    or e.status = 'processing' and e.lease_expires_at <= clock_timestamp()
  order by exists (
    select from batchgen.exports o
    where o.user_id = e.user_id and o.status = 'processing' and o.lease_expires_at > clock_timestamp()
  ), e.due_at, e.id
  limit 1 for update skip locked;
  if not found then
    return jsonb_build_object('exports', '[]'::jsonb);
  end if;
  -- A worker that lost its lease may still be storing a file.
  perform batchgen.drop_export_files(v_export.files, interval '15 minutes');
  update batchgen.exports e
  set status = 'processing', lease_id = gen_random_uuid(), worker = p_worker, attempts = e.attempts + 1, done_count = 0,
    lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds)
  where e.id = v_export.id returning * into v_export;
  return jsonb_build_object('exports', jsonb_build_array(jsonb_build_object(
    'export_id', v_export.id, 'lease_id', v_export.lease_id, 'user_id', v_export.user_id,
    'batch_ids', to_jsonb(v_export.batch_ids), 'attempt', v_export.attempts,
    'part_bytes', v_settings.export_part_bytes, 'link_seconds', v_settings.export_hours * 3600
  )));
end
$$;
revoke execute on function public.take_export(text, integer) from public, anon, authenticated, service_role;
grant execute on function public.take_export(text, integer) to service_role;
comment on function public.take_export(text, integer) is 'For workers: leases an export to build.';

-- drop_export_files(p_paths, p_wait)
-- Have the outbox delete files of exports after p_wait. A path that Storage cannot have, such as an admin may write,
-- is left out.
create function batchgen.drop_export_files(p_paths text[], p_wait interval) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.storage_deletions as d (bucket_id, path, due_at)
  select distinct 'batchgen-exports', p.path, clock_timestamp() + p_wait from unnest(p_paths) p (path)
  where length(p.path) between 1 and 1000
  on conflict on constraint a_file_is_deleted_once do update
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null
$$;
revoke execute on function batchgen.drop_export_files(text[], interval) from public, anon, authenticated, service_role;
comment on function batchgen.drop_export_files(text[], interval) is
  'Has the outbox delete files of exports after some time.';

-- after_exports_deleted()
-- Have the outbox delete the files of exports that are deleted, for example with their user.
create function batchgen.after_exports_deleted() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.drop_export_files(o.files, case when o.status = 'processing' then interval '15 minutes' else '0' end)
  from old_rows o order by o.id;
  return null;
end
$$;
revoke execute on function batchgen.after_exports_deleted() from public, anon, authenticated, service_role;
comment on function batchgen.after_exports_deleted() is 'Trigger: has the outbox delete the files of deleted exports.';

create trigger after_exports_deleted after delete on batchgen.exports
referencing old table as old_rows for each statement execute function batchgen.after_exports_deleted();

-- hold_export(p_export_id, p_lease_id)
-- Lock an export for its worker and return it.
-- Errors: PT409 lease_lost if the lease has expired or another worker has the export.
create function batchgen.hold_export(p_export_id uuid, p_lease_id uuid) returns batchgen.exports
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports;
begin
  select e.* into v_export from batchgen.exports e
  where e.id = p_export_id and e.lease_id = p_lease_id and e.lease_expires_at > clock_timestamp() for update;
  if not found then
    raise exception using errcode = 'PT409',
      message = format('export %s no longer has lease %s', p_export_id, p_lease_id),
      detail = jsonb_build_object('code', 'lease_lost', 'export_id', p_export_id, 'lease_id', p_lease_id)::text,
      hint = 'Drop the files: another worker builds the export, or it has ended.';
  end if;
  return v_export;
end
$$;
revoke execute on function batchgen.hold_export(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.hold_export(uuid, uuid) is 'Locks an export for its worker; PT409 if the lease is lost.';

-- renew_export(p_export_id, p_lease_id, p_lease_seconds, p_done)
-- Renew the lease and record how many pictures are written.
-- Caller: service_role.
-- Errors: PT409 lease_lost; PT422 for arguments.
create function public.renew_export(p_export_id uuid, p_lease_id uuid, p_lease_seconds integer, p_done integer)
returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
begin
  perform batchgen.check_worker_arguments(v_export.worker, p_lease_seconds);
  update batchgen.exports e
  set lease_expires_at = clock_timestamp() + make_interval(secs => p_lease_seconds),
    done_count = greatest(e.done_count, p_done)
  where e.id = v_export.id;
end
$$;
revoke execute on function public.renew_export(uuid, uuid, integer, integer)
from public, anon, authenticated, service_role;
grant execute on function public.renew_export(uuid, uuid, integer, integer) to service_role;
comment on function public.renew_export(uuid, uuid, integer, integer) is 'For workers: renews the lease of an export.';

-- note_export_file(p_export_id, p_lease_id, p_path)
-- Record a file before it is stored, so that the outbox deletes it whatever happens to the worker.
-- Caller: service_role.
-- Errors: PT409 lease_lost; PT422 if the path is not in the export's folder.
create function public.note_export_file(p_export_id uuid, p_lease_id uuid, p_path text) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
begin
  if p_path is null or length(p_path) > 300 or not starts_with(p_path, format('%s/%s/', v_export.user_id, v_export.id))
  then
    perform batchgen.refuse_argument('p_path', 'is not in the folder of the export',
      'Store it at {user_id}/{export_id}/….');
  end if;
  update batchgen.exports e set files = e.files || p_path where e.id = v_export.id and p_path <> all (e.files);
  perform batchgen.drop_export_files(array[p_path], make_interval(hours => s.export_hours + 1))
  from batchgen.settings s;
end
$$;
revoke execute on function public.note_export_file(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.note_export_file(uuid, uuid, text) to service_role;
comment on function public.note_export_file(uuid, uuid, text) is
  'For workers: records a file of an export before it is stored.';

-- complete_export(p_export_id, p_lease_id, p_result)
-- End an export as ready. p_result: {parts: [{name, path, bytes, url}], pictures, missing}. The outbox deletes the
-- files when the links end.
-- Caller: service_role.
-- States: processing -> ready.
-- Errors: PT409 lease_lost; PT422 if a part was not recorded by note_export_file.
create function public.complete_export(p_export_id uuid, p_lease_id uuid, p_result jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
  v_hours integer := (select s.export_hours from batchgen.settings s);
  v_paths text[];
begin
  if coalesce(jsonb_typeof(p_result -> 'parts'), '') <> 'array' then
    perform batchgen.refuse_argument('p_result', 'has no list of parts', 'Send {parts, pictures, missing}.');
  end if;
  v_paths := array(select p ->> 'path' from jsonb_array_elements(p_result -> 'parts') p);
  if v_paths = '{}' or array_position(v_paths, null) is not null or not v_paths <@ v_export.files then
    perform batchgen.refuse_argument('p_result', 'has a part that was not recorded',
      'Call note_export_file before a file is stored.');
  end if;
  update batchgen.exports e
  set status = 'ready', ended_at = clock_timestamp(), expires_at = clock_timestamp() + make_interval(hours => v_hours),
    lease_id = null, lease_expires_at = null, worker = null, error_code = null, error_message = null,
    parts = p_result -> 'parts', picture_count = coalesce((p_result ->> 'pictures')::integer, 0),
    done_count = coalesce((p_result ->> 'pictures')::integer, 0),
    missing_count = coalesce((p_result ->> 'missing')::integer, 0)
  where e.id = v_export.id;
  perform batchgen.drop_export_files(v_paths, make_interval(hours => v_hours));
end
$$;
revoke execute on function public.complete_export(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.complete_export(uuid, uuid, jsonb) to service_role;
comment on function public.complete_export(uuid, uuid, jsonb) is 'For workers: ends an export as ready.';

-- fail_export(p_export_id, p_lease_id, p_error)
-- End an attempt. p_error: {code, message, retryable}. If retryable, the export is tried again after 30 s and 2 min,
-- three attempts in all; the code handed_back (a worker that stops) uses up no attempt.
-- Caller: service_role.
-- States: processing -> pending or failed.
-- Errors: PT409 lease_lost.
create function public.fail_export(p_export_id uuid, p_lease_id uuid, p_error jsonb) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_export batchgen.exports := batchgen.hold_export(p_export_id, p_lease_id);
  v_code text := left(coalesce(p_error ->> 'code', 'unknown'), 100);
  v_is_handed_back boolean := v_code = 'handed_back';
  v_is_over boolean := not v_is_handed_back
    and (coalesce(p_error -> 'retryable', 'false') <> 'true' or v_export.attempts >= 3);
begin
  perform batchgen.drop_export_files(v_export.files, interval '15 minutes');
  update batchgen.exports e
  set status = case when v_is_over then 'failed' else 'pending' end,
    ended_at = case when v_is_over then clock_timestamp() end, lease_id = null, lease_expires_at = null, worker = null,
    attempts = e.attempts - v_is_handed_back::integer,
    error_code = case when v_is_handed_back then e.error_code else v_code end,
    error_message = case when v_is_handed_back then e.error_message else left(p_error ->> 'message', 1000) end,
    due_at = case
      when v_is_handed_back then clock_timestamp()
      else clock_timestamp() + interval '30 seconds' * 4 ^ (least(e.attempts, 5) - 1)
    end
  where e.id = v_export.id;
end
$$;
revoke execute on function public.fail_export(uuid, uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.fail_export(uuid, uuid, jsonb) to service_role;
comment on function public.fail_export(uuid, uuid, jsonb) is
  'For workers: ends an attempt to build an export; it is retried or fails.';

-- As for the bucket of the pictures: hosted projects let the role postgres create policies on storage.objects. Without
-- that right the rest of the migration goes on, and a warning tells what the owner of Storage must run.
do $$
declare
  v_statement text;
begin
  if not exists (
    select from pg_class c
    where c.relnamespace::regnamespace::text = 'storage' and c.relname in ('buckets', 'objects')
    having count(*) = 2
  ) then
    return;
  end if;

  begin
    insert into storage.buckets (id, name, public) values ('batchgen-exports', 'batchgen-exports', false)
    on conflict (id) do nothing;
  exception when insufficient_privilege then
    raise warning using
      message = format('%I may not create the bucket batchgen-exports: create it in the dashboard.', current_user),
      detail = 'Private; any file size and type.';
  end;

  foreach v_statement in array array[
    $p$create policy "batchgen: owners read their exports" on storage.objects for select to authenticated
      using (bucket_id = 'batchgen-exports' and (storage.foldername(name))[1] = (select auth.uid())::text)$p$,
    $p$create policy "batchgen: nobody reaches exports of others or writes any" on storage.objects
      as restrictive for all to anon, authenticated
      using (
        bucket_id is distinct from 'batchgen-exports' or (storage.foldername(name))[1] = (select auth.uid())::text
      )
      with check (bucket_id is distinct from 'batchgen-exports')$p$
  ] loop
    begin
      execute v_statement;
    exception when insufficient_privilege then
      raise warning using message = format('%I may make no policies on storage.objects.', current_user),
        detail = v_statement, hint = 'Run it as the owner of storage.objects.';
    end;
  end loop;
end
$$;
