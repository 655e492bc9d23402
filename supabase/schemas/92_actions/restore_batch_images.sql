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
