-- Items of the queue as a claim returns them: where and how to order the picture, and the order that an earlier attempt
-- has begun. With such an order, the model is the order's own, whatever the model's row says now. Select by item id,
-- not by state: the plan would read all running items.
create view batchgen.claimed_items with (security_invoker = on) as
select g.id as generation_id, q.lease_id, q.lease_expires_at,
  least(r.retries, 1000000) + least(q.crash_count, 1000000) + 1 as attempt, r.retries as retry_count, g.user_id,
  g.batch_id, coalesce(g.batch_index, 0) as batch_index, g.prompt, g.negative_prompt, g.seed,
  case when o.key is null then coalesce(p.provider_model, left(m.replicate_id, 500), left(g.model, 500))
    else o.provider_model end as model,
  case when o.key is null then coalesce(v.model_version, p.provider_version)
    else o.provider_version end as model_version,
  coalesce(g.width, m.default_width, 1024) as width, coalesce(g.height, m.default_height, 1024) as height,
  coalesce(g.steps, m.default_steps) as steps, g.guidance_scale::double precision as guidance_scale,
  coalesce(q.provider, o.provider) as provider, q.provider_job_id, coalesce(p.provider, 'offline') as model_provider,
  p.inputs as input_spec,
  coalesce(p.estimated_seconds, least(greatest(m.estimated_time_seconds, 0), 86400)::double precision)
    as estimated_seconds,
  o.key as order_key, o.inputs as ordered_inputs,
  extract(epoch from clock_timestamp() - o.ordered_at)::double precision as ordered_seconds_ago,
  coalesce(o.is_late, false) as is_late, q.had_picture
from public.image_generations g
join batchgen.queue q on q.generation_id = g.id
left join public.batch_generations b on b.id = g.batch_id
left join public.models m on m.id = g.model_id
left join batchgen.model_providers p on p.model_id = g.model_id
left join batchgen.orders o on o.key = q.order_key
cross join lateral (select greatest(coalesce(g.retry_count, 0), 0) as retries) r
-- The batch's version is one of the batch's model, which an edited item may have left.
cross join lateral (
  select case
    when g.model_id is null or coalesce(b.model_id, '') in ('', g.model_id::text, m.replicate_id, m.name)
      then nullif(b.model_version, '')
  end as model_version
) v
-- The order of claims. Sorted here, so that readers of the view need not read the queue again for it.
order by q.priority desc, q.created_at, q.batch_index, q.generation_id;
revoke all on batchgen.claimed_items from public, anon, authenticated, service_role;
comment on view batchgen.claimed_items is 'Items of the queue, as claim_generations returns them.';
comment on column batchgen.claimed_items.generation_id is 'The item.';
comment on column batchgen.claimed_items.lease_id is 'The lease; every write of the worker names it.';
comment on column batchgen.claimed_items.lease_expires_at is 'End of the lease unless renewed.';
comment on column batchgen.claimed_items.attempt is 'Number of the attempt, from 1; crashes count.';
comment on column batchgen.claimed_items.retry_count is 'Number of failed attempts that were retried.';
comment on column batchgen.claimed_items.user_id is 'Owner of the item.';
comment on column batchgen.claimed_items.batch_id is 'Batch of the item; empty if the batch was deleted.';
comment on column batchgen.claimed_items.batch_index is 'Position of the item in its batch, from 0.';
comment on column batchgen.claimed_items.prompt is 'Description of what the picture should show.';
comment on column batchgen.claimed_items.negative_prompt is 'Description of what the picture should not show.';
comment on column batchgen.claimed_items.seed is 'Seed of the random numbers.';
comment on column batchgen.claimed_items.model is 'The model''s id at its provider.';
comment on column batchgen.claimed_items.model_version is 'Version at the provider; empty means the official version.';
comment on column batchgen.claimed_items.width is 'Width in pixels.';
comment on column batchgen.claimed_items.height is 'Height in pixels.';
comment on column batchgen.claimed_items.steps is 'Number of inference steps; empty means the provider''s default.';
comment on column batchgen.claimed_items.guidance_scale is 'How closely the picture follows the prompt.';
comment on column batchgen.claimed_items.provider is 'Provider of an existing job or order; empty if there is none.';
comment on column batchgen.claimed_items.provider_job_id is 'The job at that provider, to be resumed.';
comment on column batchgen.claimed_items.model_provider is 'Provider that runs the model.';
comment on column batchgen.claimed_items.input_spec is 'Names and ranges of the model''s inputs (docs/models.md).';
comment on column batchgen.claimed_items.estimated_seconds is 'Usual time to make a picture, in seconds.';
comment on column batchgen.claimed_items.order_key is 'An earlier order of the item whose outcome is unknown.';
comment on column batchgen.claimed_items.ordered_inputs is 'Inputs that this order was about to send.';
comment on column batchgen.claimed_items.ordered_seconds_ago is 'Age of this order in seconds.';
comment on column batchgen.claimed_items.is_late is
  'True if the item runs again only to fetch the picture of this order.';
comment on column batchgen.claimed_items.had_picture is
  'True if the item was completed before: its new files need other names.';
