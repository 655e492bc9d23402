-- export_answer(p_export)
-- An export as its owner sees it: {id, status, batch_ids, created_at, ended_at, expires_at, pictures, done, missing,
-- attempts, error: {code, message}, parts: [{name, path, bytes, url}]}. status is expired once the links have ended;
-- then there are no parts.
create function batchgen.export_answer(p_export batchgen.exports) returns jsonb
language sql stable set search_path = '' as $$
  select jsonb_build_object(
    'id', p_export.id,
    'status', case when p_export.expires_at <= clock_timestamp() then 'expired' else p_export.status end,
    'user_id', p_export.user_id, 'batch_ids', to_jsonb(p_export.batch_ids), 'created_at', p_export.created_at,
    'ended_at', p_export.ended_at, 'expires_at', p_export.expires_at, 'pictures', p_export.picture_count,
    'done', p_export.done_count, 'missing', p_export.missing_count, 'attempts', p_export.attempts,
    'error', case when p_export.error_code is not null then
      jsonb_build_object('code', p_export.error_code, 'message', p_export.error_message)
    end,
    'parts', case when p_export.expires_at > clock_timestamp() then p_export.parts else '[]' end
  )
$$;
revoke execute on function batchgen.export_answer(batchgen.exports) from public, anon, authenticated, service_role;
comment on function batchgen.export_answer(batchgen.exports) is 'An export as its owner sees it.';
