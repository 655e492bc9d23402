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
