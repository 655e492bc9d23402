-- pictures_of(p_ids)
-- Items, each with its picture: the one that complete_generation keeps.
create function batchgen.pictures_of(p_ids uuid[])
returns table (generation_id uuid, batch_index integer, status text, image_id uuid, saved_at timestamptz)
language sql stable security definer set search_path = '' as $$
  select g.id, g.batch_index, g.status, p.id, p.saved_at
  from public.image_generations g
  left join lateral (
    select i.id, i.saved_at from public.images i
    where i.generation_id = g.id and i.user_id is not distinct from g.user_id order by i.created_at, i.id limit 1
  ) p on true
  where g.id = any (p_ids)
$$;
revoke execute on function batchgen.pictures_of(uuid[]) from public, anon, authenticated, service_role;
comment on function batchgen.pictures_of(uuid[]) is 'Items, each with its picture.';
