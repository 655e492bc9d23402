create function batchgen_api.create_batch(p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return batchgen.create_batch_for(auth.uid(), p_request);
end
$$;
revoke execute on function batchgen_api.create_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.create_batch(jsonb) to authenticated;
comment on function batchgen_api.create_batch(jsonb) is 'Behind public.create_batch: for the signed-in user.';

-- create_batch(p_request)
-- Submit a batch: {prompts: [{text, negative_prompt?, seed?, tags?}], shared_settings?: {model_id, model_version,
-- width, height, steps, guidance_scale}, batch_name?, client_key?} -> {batch: {id, name, total_count, status,
-- generations: [{id, index, prompt, status, seed}]}}.
-- Caller: authenticated, for themselves. anon may call it only to get a clear error: PT401 not_signed_in.
create function public.create_batch(p_request jsonb) returns jsonb
language plpgsql set search_path = '' as $$
begin
  -- anon may not use the schema of batchgen.refuse, so the error is raised here.
  if auth.uid() is null then
    raise exception using errcode = 'PT401', message = 'You are not signed in.', hint = 'Sign in, then try again.',
      detail = jsonb_build_object(
        'code', 'not_signed_in', 'message', 'You are not signed in.', 'index', null, 'field', null, 'limit', null,
        'remedy', 'Sign in, then try again.'
      )::text;
  end if;
  return batchgen_api.create_batch(p_request);
end
$$;
revoke execute on function public.create_batch(jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_batch(jsonb) to anon, authenticated;
comment on function public.create_batch(jsonb) is 'Submits a batch of prompts for the signed-in user.';

-- create_batch_as(p_user_id, p_request)
-- create_batch for an operator who acts for a user.
-- Caller: service_role.
create function public.create_batch_as(p_user_id uuid, p_request jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or not exists (select from auth.users u where u.id = p_user_id) then
    perform batchgen.refuse('unknown_user', 'p_user_id is not a user of this project.', 'p_user_id',
      'Use the id of a row in auth.users.');
  end if;
  return batchgen.create_batch_for(p_user_id, p_request);
end
$$;
revoke execute on function public.create_batch_as(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.create_batch_as(uuid, jsonb) to service_role;
comment on function public.create_batch_as(uuid, jsonb) is 'For operators: submits a batch of prompts for a user.';
