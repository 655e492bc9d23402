-- batch_snapshot(p_batch_id)
-- {batch, generations: [{…, images: [{…, tags: […]}]}]}: a batch with its items and their pictures, all columns, in one
-- consistent JSON value; null if the caller sees no such batch. Joins by columns, because embedding by PostgREST is
-- ambiguous (PGRST201) if a project has a second foreign key between the tables, and max-rows cuts it off.
-- Caller: authenticated, service_role; each sees what row level security shows.
create function public.batch_snapshot(p_batch_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'batch', to_jsonb(b),
    'generations', coalesce((
      select jsonb_agg(
        to_jsonb(g) || jsonb_build_object('images', coalesce((
          select jsonb_agg(to_jsonb(i) || jsonb_build_object('tags', coalesce((
            select jsonb_agg(t.name order by t.name)
            from public.image_tags it join public.tags t on t.id = it.tag_id where it.image_id = i.id
          ), '[]')) order by i.created_at, i.id)
          from public.images i where i.generation_id = g.id
        ), '[]'))
        order by g.batch_index, g.id
      )
      from public.image_generations g where g.batch_id = b.id
    ), '[]')
  )
  from public.batch_generations b where b.id = p_batch_id
$$;
revoke execute on function public.batch_snapshot(uuid) from public, anon, authenticated, service_role;
grant execute on function public.batch_snapshot(uuid) to authenticated, service_role;
comment on function public.batch_snapshot(uuid) is
  'A batch with its items and pictures, as the caller may see them, in one JSON value.';
