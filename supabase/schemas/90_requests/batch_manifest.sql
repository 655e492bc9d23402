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
