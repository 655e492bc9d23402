-- repair_ready_ranks(p_depth)
-- Update the ready ranks of all touched users: their first waiting rows, p_depth of them and never more than
-- max_parallel_per_user - running, get the ranks running + 1, running + 2, …; all other rows none. A claim that takes
-- the last ranked row of a user asks for more.
-- Caller: the claim, alone under its lock.
create function batchgen.repair_ready_ranks(p_depth integer default 2) returns void
language plpgsql security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
declare
  v_users uuid[];
  v_cap integer;
  v_ids uuid[];
  v_ranks integer[];
  v_written integer;
begin
  with gone as (delete from batchgen.touched returning user_id)
  select array_agg(distinct user_id) into v_users from gone;
  if v_users is null then
    return;
  end if;
  -- Read after the marks were deleted: a changed limit marks its users, so the limit must be the new one.
  select s.max_parallel_per_user into v_cap from batchgen.settings s;

  with room as materialized (
    select u.user_id,
      (select count(*) from batchgen.queue r where r.state = 'running' and r.user_id = u.user_id)::integer as running
    from unnest(v_users) as u (user_id)
  ),
  wanted as materialized (
    select w.generation_id, w.ready_rank, room.running + w.nth as rank
    from room cross join lateral (
      select h.generation_id, h.ready_rank,
        (row_number() over (order by h.priority desc, h.created_at, h.batch_index, h.generation_id))::integer as nth
      from (
        select q.generation_id, q.ready_rank, q.priority, q.created_at, q.batch_index
        from batchgen.queue q where q.state = 'waiting' and not q.is_suspect and q.user_id = room.user_id
        order by q.priority desc, q.created_at, q.batch_index, q.generation_id
        limit least(greatest(v_cap - room.running, 0), p_depth)
      ) h
    ) w
  ),
  unwanted as (
    select q.generation_id
    from room cross join lateral (
      select r.generation_id from batchgen.queue r where r.ready_rank > 0 and r.user_id = room.user_id offset 0
    ) q
    where q.generation_id not in (select generation_id from wanted)
  ),
  changed as (
    select generation_id, rank from wanted where ready_rank is distinct from rank
    union all
    select generation_id, null from unwanted
  )
  select array_agg(generation_id), array_agg(rank) into v_ids, v_ranks from changed;
  if v_ids is null then
    return;
  end if;

  -- Join each list only with the table, by its key: two lists would be compared row by row.
  with free as (
    select q.generation_id, c.rank
    from unnest(v_ids, v_ranks) as c (generation_id, rank) join batchgen.queue q using (generation_id)
    for no key update of q skip locked
  )
  update batchgen.queue q set ready_rank = free.rank from free
  where q.generation_id = free.generation_id and q.state = 'waiting';
  get diagnostics v_written = row_count;
  if v_written < cardinality(v_ids) then
    -- Another session holds some of these rows: repair their users again next time.
    insert into batchgen.touched (user_id) select unnest(v_users);
  end if;
end
$$;
revoke execute on function batchgen.repair_ready_ranks(integer) from public, anon, authenticated, service_role;
comment on function batchgen.repair_ready_ranks(integer) is 'Updates which rows a claim may take, for touched users.';
