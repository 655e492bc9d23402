-- No file outlives its item. A worker stores a picture before it records it: if the item or the attempt ends in
-- between, the file has no row, and the file of a second attempt may have another format. So each path at which an item
-- may have left a file goes into the outbox when the item leaves the queue; the file is deleted unless a row of images
-- names it by then. Locks: rows of the outbox last.

-- suspect_paths(p_paths, p_due_at)
-- Put paths into the outbox for p_due_at.
create function batchgen.suspect_paths(p_paths text[], p_due_at timestamptz) returns void
language sql security definer set search_path = '' as $$
  insert into batchgen.storage_deletions as d (path, due_at)
  select distinct p.path, p_due_at from unnest(p_paths) p (path) order by 1
  on conflict on constraint a_file_is_deleted_once do update
    -- The worker that leased it may have deleted the earlier file at this path.
    set due_at = excluded.due_at, attempts = 0, lease_id = null, lease_expires_at = null, worker = null
$$;
revoke execute on function batchgen.suspect_paths(text[], timestamptz) from public, anon, authenticated, service_role;
comment on function batchgen.suspect_paths(text[], timestamptz) is 'Puts paths into the outbox.';

-- suspect_files(p_user_id, p_generation_id, p_due_at)
-- Put the paths of an item's picture, in every format that a worker stores, and of its thumbnail into the outbox for
-- p_due_at.
create function batchgen.suspect_files(p_user_id uuid, p_generation_id uuid, p_due_at timestamptz) returns void
language sql security definer set search_path = '' as $$
  select batchgen.suspect_paths(array(
    select format('%s/%s.%s', p_user_id, p_generation_id, f.format)
    from unnest(array['jpeg', 'png', 'thumb.webp', 'webp']) f (format)
  ), p_due_at)
$$;
revoke execute on function batchgen.suspect_files(uuid, uuid, timestamptz)
from public, anon, authenticated, service_role;
comment on function batchgen.suspect_files(uuid, uuid, timestamptz) is
  'Puts the paths of an item''s picture and thumbnail into the outbox.';

create function batchgen.before_queue_attempt_ended() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.was_run := true;
  return new;
end
$$;
revoke execute on function batchgen.before_queue_attempt_ended() from public, anon, authenticated, service_role;
comment on function batchgen.before_queue_attempt_ended() is
  'Trigger: records that an attempt of an item ended without a picture.';

create trigger before_queue_attempt_ended before update of state on batchgen.queue
for each row when (old.state = 'running'
  and new.state <> 'running') execute function batchgen.before_queue_attempt_ended();

-- after_queue_left()
-- Put the paths of items that leave the queue into the outbox. If the item's own worker reported a failure, it stores
-- nothing more: due at once. Otherwise due a minute after the lease's end: a worker that obeys its lease has stopped by
-- then, and one that does not discards its files itself.
create function batchgen.after_queue_left() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform batchgen.suspect_files(o.user_id, o.generation_id, case
    when o.state = 'running' and o.fault_code is not null then clock_timestamp()
    else greatest(clock_timestamp(), o.lease_expires_at) + interval '1 minute'
  end)
  from old_rows o left join public.image_generations g on g.id = o.generation_id
  where o.was_run or ((o.state = 'running' or g.started_at is not null) and g.status is distinct from 'completed')
  order by o.generation_id;
  return null;
end
$$;
revoke execute on function batchgen.after_queue_left() from public, anon, authenticated, service_role;
comment on function batchgen.after_queue_left() is
  'Trigger: puts files that ended items may have left into the outbox.';

create trigger after_queue_left after delete on batchgen.queue
referencing old table as old_rows for each statement execute function batchgen.after_queue_left();
