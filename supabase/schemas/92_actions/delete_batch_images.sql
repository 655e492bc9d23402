-- delete_batch_images(p_batch_id, p_ids)
-- Delete the pictures of these items: rows at once, files through the outbox. Items and totals stay. Waiting and
-- running items are refused, since they would make another picture.
create function batchgen.delete_batch_images(p_batch_id uuid, p_ids uuid[]) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_outcomes batchgen.item_outcome[];
begin
  perform batchgen.lock_batch(p_batch_id);
  v_outcomes := array(
    select row(
      p.generation_id, p.batch_index, coalesce(p.status, '') not in ('pending', 'processing'),
      case
        when p.status = 'pending' then 'still_waiting'
        when p.status = 'processing' then 'still_running'
        when p.image_id is null then 'already_deleted'
        else 'deleted'
      end,
      case when p.image_id is not null then jsonb_build_object('image_id', p.image_id) end
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
  perform batchgen.delete_images(array(
    select i.id
    from unnest(v_outcomes) o
    join public.image_generations g on g.id = o.generation_id
    join public.images i on i.generation_id = g.id and i.user_id is not distinct from g.user_id
    where o.is_done
  ));
  return v_outcomes;
end
$$;
revoke execute on function batchgen.delete_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.delete_batch_images(uuid, uuid[]) is 'Deletes pictures of a batch.';

-- delete_batch_images(p_batch_id, p_generation_ids)
-- Delete the pictures of a batch, or of the named items.
-- Actions: deleted, with image_id; already_deleted. Refused: still_waiting, still_running.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for too many ids.
create function public.delete_batch_images(p_batch_id uuid, p_generation_ids uuid[] default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('delete', p_batch_id, p_generation_ids)
$$;
revoke execute on function public.delete_batch_images(uuid, uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.delete_batch_images(uuid, uuid[]) to authenticated, service_role;
comment on function public.delete_batch_images(uuid, uuid[]) is
  'Deletes the pictures of a batch, all or those of the named items, rows and files; items and totals stay.';
