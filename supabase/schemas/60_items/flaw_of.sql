-- flaw_of(p_item, p_batch)
-- The reason why no worker can run an item, as {code, message}; null if it can run. create_batch refuses such items,
-- but an admin, another function or an old project may have written anything.
create function batchgen.flaw_of(p_item public.image_generations, p_batch public.batch_generations) returns jsonb
language sql immutable set search_path = '' as $$
  select case
    when coalesce(p_item.user_id, p_batch.user_id) is null
      then '{"code": "no_owner", "message": "Neither the item nor its batch has an owner."}'
    when p_item.prompt is null or batchgen.is_blank(p_item.prompt)
      then '{"code": "no_prompt", "message": "The prompt is empty."}'
    when length(p_item.prompt) > 100000 or length(p_item.negative_prompt) > 100000
      then '{"code": "prompt_too_long", "message": "The prompt is longer than 100000 characters."}'
    when p_item.guidance_scale not between -1000000 and 1000000
      then '{"code": "invalid_settings", "message": "guidance_scale is not a number between -1000000 and 1000000."}'
    when p_item.width not between 1 and 65536 or p_item.height not between 1 and 65536
      then '{"code": "invalid_settings", "message": "width and height are not between 1 and 65536 pixels."}'
    when p_item.steps not between 1 and 10000
      then '{"code": "invalid_settings", "message": "steps is not between 1 and 10000."}'
    when length(p_batch.model_version) > 500
      then '{"code": "invalid_settings", "message": "model_version is longer than 500 characters."}'
  end::jsonb
$$;
revoke execute on function batchgen.flaw_of(public.image_generations, public.batch_generations)
from public, anon, authenticated, service_role;
comment on function batchgen.flaw_of(public.image_generations, public.batch_generations) is
  'The reason why no worker can run an item; null if it can run.';
