-- trash_batch_images(p_batch_id, p_ids, p_whole)
-- Put the pictures of these items into the trash, and with p_whole the batch, too, if all of its items have ended.
-- Waiting and running items are refused, since they would make another picture.
create function batchgen.trash_batch_images(
  p_batch_id uuid, p_ids uuid[], p_whole boolean
) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_pictures uuid[];
  v_new uuid[];
begin
  perform batchgen.lock_batch(p_batch_id);
  v_pictures := array(
    select p.image_id from batchgen.pictures_of(p_ids) p
    where p.image_id is not null and coalesce(p.status, '') not in ('pending', 'processing')
  );
  perform 1 from public.images i where i.id = any (v_pictures) order by i.id for update;
  with trashed as (
    insert into batchgen.trashed_images (image_id, user_id, was_archived_at)
    select i.id, i.user_id, i.archived_at from public.images i where i.id = any (v_pictures)
    on conflict do nothing
    returning image_id
  )
  select coalesce(array_agg(image_id), '{}') into v_new from trashed;
  update public.images i set archived_at = now() where i.id = any (v_new);
  if p_whole and not exists (
    select from public.image_generations g where g.batch_id = p_batch_id and g.status in ('pending', 'processing')
  ) then
    insert into batchgen.trashed_batches (batch_id, user_id)
    select b.id, b.user_id from public.batch_generations b where b.id = p_batch_id
    on conflict do nothing;
  end if;
  return array(
    select row(
      p.generation_id, p.batch_index, o.code in ('trashed', 'already_trashed'), o.code,
      case when p.image_id is not null then jsonb_build_object('image_id', p.image_id) end
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
    cross join lateral (
      select case
        when p.status = 'pending' then 'still_waiting'
        when p.status = 'processing' then 'still_running'
        when p.image_id = any (v_new) or (p.image_id is null and p_whole) then 'trashed'
        when p.image_id is null then 'no_image'
        else 'already_trashed'
      end as code
    ) o
  );
end
$$;
revoke execute on function batchgen.trash_batch_images(uuid, uuid[], boolean)
from public, anon, authenticated, service_role;
comment on function batchgen.trash_batch_images(uuid, uuid[], boolean) is
  'Puts pictures of a batch, or all of it, into the trash.';

-- trash_batch_images(p_batch_id, p_generation_ids)
-- Put a batch with all of its pictures into the trash, or only the pictures of the named items. The batch stays in the
-- list while some of its items wait or run.
-- Actions: trashed, already_trashed, with image_id if there is a picture. Refused: still_waiting, still_running;
-- no_image for named items.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for too many ids.
create function public.trash_batch_images(p_batch_id uuid, p_generation_ids uuid[] default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('trash', p_batch_id, p_generation_ids)
$$;
revoke execute on function public.trash_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.trash_batch_images(uuid, uuid[]) to authenticated, service_role;
comment on function public.trash_batch_images(uuid, uuid[]) is
  'Puts a batch with its pictures, or the pictures of the named items, into the trash.';

-- restore_batch_images(p_batch_id, p_ids)
-- Take the pictures of these items, and the batch itself, out of the trash. A picture that is being deleted at this
-- moment is gone.
create function batchgen.restore_batch_images(p_batch_id uuid, p_ids uuid[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_restored uuid[];
begin
  perform batchgen.lock_batch(p_batch_id);
  perform 1 from public.batch_generations b where b.id = p_batch_id for no key update;
  perform 1 from public.images i
  where i.id in (select p.image_id from batchgen.pictures_of(p_ids) p) order by i.id for update;
  with restored as (
    delete from batchgen.trashed_images t
    where t.image_id in (select p.image_id from batchgen.pictures_of(p_ids) p)
    returning t.image_id, t.was_archived_at
  ),
  shown as (
    update public.images i set archived_at = r.was_archived_at from restored r where i.id = r.image_id returning i.id
  )
  select coalesce(array_agg(id), '{}') into v_restored from shown;
  delete from batchgen.trashed_batches t where t.batch_id = p_batch_id;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_restored) then 'restored'
        else 'not_in_trash' end,
      case when p.image_id is not null then jsonb_build_object('image_id', p.image_id) end
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.restore_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.restore_batch_images(uuid, uuid[]) is 'Takes pictures and their batch out of the trash.';

-- restore_batch_images(p_batch_id, p_generation_ids)
-- Take a batch and its pictures, all or those of the named items, out of the trash. A picture gets the archived_at that
-- it had before.
-- Actions: restored, not_in_trash, with image_id. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for too many ids.
create function public.restore_batch_images(p_batch_id uuid, p_generation_ids uuid[] default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('restore', p_batch_id, p_generation_ids)
$$;
revoke execute on function public.restore_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.restore_batch_images(uuid, uuid[]) to authenticated, service_role;
comment on function public.restore_batch_images(uuid, uuid[]) is
  'Takes a batch and its pictures, all or those of the named items, out of the trash.';

-- after_image_unarchived()
-- Take a picture out of the trash when the app takes it out of its archive.
create function batchgen.after_image_unarchived() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from batchgen.trashed_images t where t.image_id = new.id;
  return null;
end
$$;
revoke execute on function batchgen.after_image_unarchived() from public, anon, authenticated, service_role;
comment on function batchgen.after_image_unarchived() is
  'Trigger: takes a picture out of the trash when it leaves the app''s archive.';

create trigger batchgen_unarchived after update of archived_at on public.images
for each row when (old.archived_at is not null and new.archived_at is null)
execute function batchgen.after_image_unarchived();

-- delete_trash(p_user_id, p_until, p_limit)
-- Delete what has been in the trash of a user (null: of everybody) since p_until or longer, the oldest p_limit pictures
-- and batches first: rows at once, files through the outbox. A batch goes when no picture of it is left in the trash;
-- its items stay, as when the app deletes a batch. Returns the numbers of pictures and batches.
-- Locks: batches, rows of images, rows of the trash; skips what other sessions hold.
create function batchgen.delete_trash(
  p_user_id uuid, p_until timestamptz, p_limit integer, out images integer, out batches integer
)
language plpgsql security definer set search_path = '' as $$
declare
  v_batches uuid[] := array(
    select b.id from public.batch_generations b join batchgen.trashed_batches t on t.batch_id = b.id
    where t.trashed_at <= p_until and (p_user_id is null or t.user_id = p_user_id)
    order by t.trashed_at, b.id limit p_limit for update of b skip locked
  );
begin
  images := batchgen.delete_images(array(
    select i.id from batchgen.trashed_images t join public.images i on i.id = t.image_id
    where i.archived_at <= p_until and (p_user_id is null or t.user_id = p_user_id)
    order by i.archived_at, i.id limit p_limit for update of i, t skip locked
  ));
  delete from public.batch_generations b
  where b.id = any (v_batches)
    and exists (select from batchgen.trashed_batches t where t.batch_id = b.id)
    and not exists (
      select from public.image_generations g
      join public.images i on i.generation_id = g.id
      join batchgen.trashed_images t on t.image_id = i.id
      where g.batch_id = b.id
    );
  get diagnostics batches = row_count;
end
$$;
revoke execute on function batchgen.delete_trash(uuid, timestamptz, integer)
from public, anon, authenticated, service_role;
comment on function batchgen.delete_trash(uuid, timestamptz, integer) is
  'Deletes the oldest pictures and batches in the trash.';

-- trash_owner(p_user_id)
-- Whose trash a call is about: the signed-in user's, or for an operator the named user's.
-- Errors: PT401 if nobody is signed in; PT404 for another user; PT422 if an operator names nobody.
create function batchgen.trash_owner(p_user_id uuid) returns uuid
language plpgsql stable security definer set search_path = '' as $$
begin
  if batchgen.is_operator() then
    if p_user_id is null then
      perform batchgen.refuse('user_missing', 'p_user_id is missing.', 'p_user_id', 'Name the user whose trash it is.');
    end if;
    return p_user_id;
  end if;
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if p_user_id <> auth.uid() then
    perform batchgen.refuse('user_not_found', 'User not found, or it is not you.', 'p_user_id',
      'Use your own user id, or leave it out.', null, null, 'PT404');
  end if;
  return auth.uid();
end
$$;
revoke execute on function batchgen.trash_owner(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.trash_owner(uuid) is 'Whose trash a call is about.';

create function batchgen_api.empty_trash(p_user_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.trash_owner(p_user_id);
  v_deleted record;
begin
  select d.* into v_deleted from batchgen.delete_trash(v_user_id, 'infinity', 500) d;
  return jsonb_build_object('images', v_deleted.images, 'batches', v_deleted.batches, 'left',
    (select count(*) from batchgen.trashed_images t where t.user_id = v_user_id)
    + (select count(*) from batchgen.trashed_batches t where t.user_id = v_user_id));
end
$$;
revoke execute on function batchgen_api.empty_trash(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.empty_trash(uuid) to authenticated, service_role;
comment on function batchgen_api.empty_trash(uuid) is 'Behind public.empty_trash.';

-- empty_trash(p_user_id)
-- Delete what is in the trash now, at most 500 pictures and batches per call. Returns {images, batches, left}: the
-- numbers of what was deleted, and of what is left for the next call.
-- Caller: authenticated, for themselves; service_role, for p_user_id.
-- Errors: PT401, PT404; PT422 if an operator names nobody.
create function public.empty_trash(p_user_id uuid default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.empty_trash(p_user_id)
$$;
revoke execute on function public.empty_trash(uuid) from public, anon, authenticated, service_role;
grant execute on function public.empty_trash(uuid) to authenticated, service_role;
comment on function public.empty_trash(uuid) is 'Deletes the pictures and batches in a user''s trash for good.';

-- trashed_picture(p_image)
-- A picture as get_trash shows it.
create function batchgen.trashed_picture(p_image public.images) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('image_id', p_image.id, 'generation_id', p_image.generation_id, 'index', (
      select g.batch_index from public.image_generations g where g.id = p_image.generation_id
    ), 'prompt', p_image.prompt, 'storage_path', p_image.storage_path, 'thumbnail_path', p_image.thumbnail_path,
    'public_url', p_image.public_url, 'width', p_image.width, 'height', p_image.height, 'blurhash', p_image.blurhash)
$$;
revoke execute on function batchgen.trashed_picture(public.images) from public, anon, authenticated, service_role;
comment on function batchgen.trashed_picture(public.images) is 'A picture as get_trash shows it.';

-- batchgen.trash: what is in the trash: batches with their pictures, and single pictures of batches that are not.
create view batchgen.trash with (security_invoker = on) as
select t.user_id, 'batch' as kind, b.id, t.trashed_at as archived_at, jsonb_build_object(
  'batch_id', b.id, 'name', b.name, 'status', b.status, 'total_count', b.total_count, 'images', coalesce((
    select jsonb_agg(batchgen.trashed_picture(i) order by g.batch_index, g.id)
    from public.image_generations g join public.images i on i.generation_id = g.id
    join batchgen.trashed_images x on x.image_id = i.id where g.batch_id = b.id
  ), '[]')
) as entry
from batchgen.trashed_batches t join public.batch_generations b on b.id = t.batch_id
union all
select t.user_id, 'image', i.id, i.archived_at,
  batchgen.trashed_picture(i) || jsonb_build_object('batch_id', g.batch_id, 'name', b.name)
from batchgen.trashed_images t join public.images i on i.id = t.image_id
left join public.image_generations g on g.id = i.generation_id
left join public.batch_generations b on b.id = g.batch_id
where not exists (select from batchgen.trashed_batches x where x.batch_id = g.batch_id);
revoke all on batchgen.trash from public, anon, authenticated, service_role;
comment on view batchgen.trash is 'Batches in the trash with their pictures, and single pictures.';
comment on column batchgen.trash.user_id is 'Owner of the batch or picture.';
comment on column batchgen.trash.kind is 'batch or image.';
comment on column batchgen.trash.id is 'Id of the batch or picture.';
comment on column batchgen.trash.archived_at is 'When it was thrown away.';
comment on column batchgen.trash.entry is 'The entry in the answer of get_trash.';

create function batchgen_api.get_trash(p_before text, p_limit integer, p_user_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
  v_user_id uuid := batchgen.trash_owner(p_user_id);
  v_days integer := (select s.trash_days from batchgen.settings s);
  v_size integer := coalesce(p_limit, 20);
  v_at timestamptz;
  v_id uuid;
begin
  if v_size not between 1 and 100 then
    perform batchgen.refuse('out_of_range', 'p_limit is out of range: it must be from 1 to 100.', 'p_limit',
      'Choose a whole number from 1 to 100, and read the next page with p_before.', null, '{"min": 1, "max": 100}');
  end if;
  if p_before is not null then
    begin
      v_at := split_part(p_before, '/', 1)::timestamptz;
      v_id := split_part(p_before, '/', 2)::uuid;
    exception when data_exception then
      perform batchgen.refuse('invalid_cursor', 'p_before does not come from get_trash.', 'p_before',
        'Send next of the page before, or leave it out for the first page.');
    end;
  end if;
  return (
    with page as materialized (
      select t.*, row_number() over (order by t.archived_at desc, t.id desc) as nth from batchgen.trash t
      where t.user_id = v_user_id and (v_at is null or (t.archived_at, t.id) < (v_at, v_id))
      order by t.archived_at desc, t.id desc limit v_size + 1
    )
    select jsonb_build_object(
      'entries', coalesce(jsonb_agg(jsonb_build_object('kind', p.kind, 'archived_at', p.archived_at, 'deleted_at',
        p.archived_at + make_interval(days => v_days)) || p.entry order by p.nth) filter (where p.nth <= v_size), '[]'),
      'next', max((to_jsonb(p.archived_at) #>> '{}') || '/' || p.id)
        filter (where p.nth = v_size and exists (select from page q where q.nth > v_size))
    )
    from page p
  );
end
$$;
revoke execute on function batchgen_api.get_trash(text, integer, uuid)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_trash(text, integer, uuid) to authenticated, service_role;
comment on function batchgen_api.get_trash(text, integer, uuid) is 'Behind public.get_trash.';

-- get_trash(p_before, p_limit, p_user_id)
-- A page of the trash, newest first: {entries: [{kind, archived_at, deleted_at, …}], next}. A batch has batch_id,
-- name, status, total_count and its images; a single picture has image_id, generation_id, index, prompt, storage_path,
-- thumbnail_path, public_url, width, height, blurhash, batch_id and name of its batch. deleted_at: when a worker
-- deletes it. next is p_before of the next page, null after the last one. p_limit: 1 to 100.
-- Caller: authenticated, for themselves; service_role, for p_user_id.
-- Errors: PT401, PT404; PT422 for p_limit and p_before.
create function public.get_trash(
  p_before text default null, p_limit integer default 20, p_user_id uuid default null
) returns jsonb
language sql stable set search_path = '' as $$
  select batchgen_api.get_trash(p_before, p_limit, p_user_id)
$$;
revoke execute on function public.get_trash(text, integer, uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_trash(text, integer, uuid) to authenticated, service_role;
comment on function public.get_trash(text, integer, uuid) is 'A page of a user''s trash, newest first.';

-- is_in_trash(p_batch_id)
-- Caller: list_batches, for batches that it can see.
create function batchgen_api.is_in_trash(p_batch_id uuid) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (select from batchgen.trashed_batches t where t.batch_id = p_batch_id)
$$;
revoke execute on function batchgen_api.is_in_trash(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.is_in_trash(uuid) to authenticated, service_role;
comment on function batchgen_api.is_in_trash(uuid) is 'True if a batch is in the trash.';

-- list_batches(p_limit, p_user_id)
-- The newest batches that are not in the trash, newest first: at most 1,000 rows of batch_generations, of p_user_id if
-- given.
-- Caller: authenticated, service_role; each sees what row level security shows.
create function public.list_batches(
  p_limit integer default 20, p_user_id uuid default null
) returns setof public.batch_generations
language sql stable set search_path = '' as $$
  select b.* from public.batch_generations b
  where (p_user_id is null or b.user_id = p_user_id) and not batchgen_api.is_in_trash(b.id)
  order by b.created_at desc, b.id desc limit least(greatest(p_limit, 0), 1000)
$$;
revoke execute on function public.list_batches(integer, uuid) from public, anon, authenticated, service_role;
grant execute on function public.list_batches(integer, uuid) to authenticated, service_role;
comment on function public.list_batches(integer, uuid) is 'The newest batches that are not in the trash.';
