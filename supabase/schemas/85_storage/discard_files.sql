-- discard_files(p_user_id, p_generation_id, p_seconds, p_paths)
-- Discard files that a worker stored, or may store, for an item: they are deleted after p_seconds unless the item runs
-- then or a row of images names them. p_paths: the files, in the user's folder; by default those of the item's plain
-- names. A worker that has lost the item discards its files; before it stores one of another name, it announces that
-- file in this way.
-- Caller: service_role.
create function public.discard_files(
  p_user_id uuid, p_generation_id uuid, p_seconds double precision, p_paths text[] default null
) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null or p_generation_id is null then
    perform batchgen.refuse_argument('p_generation_id', 'or p_user_id is empty', 'Send the ids of the claim.');
  end if;
  if p_seconds is null or not p_seconds between 0 and 86400 then
    perform batchgen.refuse_argument('p_seconds', 'is not between 0 and 86400',
      'Send how many seconds an upload may still take.');
  end if;
  if p_paths is null then
    perform batchgen.suspect_files(p_user_id, p_generation_id, clock_timestamp() + make_interval(secs => p_seconds));
    return;
  end if;
  if cardinality(p_paths) > 10 or exists (
    select from unnest(p_paths) p (path) where not batchgen.is_in_folder(p_user_id, p.path)
  ) then
    perform batchgen.refuse_argument('p_paths', 'has more than 10 paths, or one outside the owner''s folder',
      'Send paths such as {user_id}/{generation_id}.thumb.webp.');
  end if;
  perform batchgen.suspect_paths(p_paths, clock_timestamp() + make_interval(secs => p_seconds));
end
$$;
revoke execute on function public.discard_files(uuid, uuid, double precision, text[])
from public, anon, authenticated, service_role;
grant execute on function public.discard_files(uuid, uuid, double precision, text[]) to service_role;
comment on function public.discard_files(uuid, uuid, double precision, text[]) is
  'For workers: deletes files that a worker stored for an item, unless a row of images names them.';
