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
