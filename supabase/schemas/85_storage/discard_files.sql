-- discard_files(p_user_id, p_generation_id, p_seconds)
-- Discard the files of a worker that stored a picture, or may have, and then lost the item: they are deleted after
-- p_seconds unless the item runs again or a row of images names them.
-- Caller: service_role.
create function public.discard_files(p_user_id uuid, p_generation_id uuid, p_seconds double precision) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or p_generation_id is null then
    perform batchgen.refuse_argument('p_generation_id', 'or p_user_id is empty', 'Send the ids of the claim.');
  end if;
  if p_seconds is null or not p_seconds between 0 and 86400 then
    perform batchgen.refuse_argument('p_seconds', 'is not between 0 and 86400',
      'Send how many seconds an upload may still take.');
  end if;
  perform batchgen.suspect_files(p_user_id, p_generation_id, clock_timestamp() + make_interval(secs => p_seconds));
end
$$;
revoke execute on function public.discard_files(uuid, uuid, double precision)
from public, anon, authenticated, service_role;
grant execute on function public.discard_files(uuid, uuid, double precision) to service_role;
comment on function public.discard_files(uuid, uuid, double precision) is
  'For workers: deletes the files that a worker stored for an item it has lost.';
