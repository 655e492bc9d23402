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
