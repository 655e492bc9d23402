-- The pages' order, for one user and for all.
create index idx_batch_generations_user_created on public.batch_generations (user_id, created_at desc, id desc);
create index idx_batch_generations_created on public.batch_generations (created_at desc, id desc);

-- Arguments of batches_page, checked: at and id of p_before; states, null for all; is_trashed: batches in the trash
-- instead of the others; tag and search in lower case.
create type batchgen.page_request as (
  at timestamptz, id uuid, size integer, states text[], is_trashed boolean, tag text, search text
);

-- read_page_request(p_before, p_limit, p_state, p_tag, p_search)
-- Read and check the arguments of batches_page.
-- Errors: PT422 for the first that is invalid.
create function batchgen.read_page_request(
  p_before text, p_limit integer, p_state text, p_tag text, p_search text
) returns batchgen.page_request
language plpgsql stable set search_path = '' as $$
declare
  v_page batchgen.page_request;
  v_states text[] := '{pending,processing,completed,partial,failed}';
begin
  v_page.size := coalesce(p_limit, 20);
  if v_page.size not between 1 and 100 then
    perform batchgen.refuse('out_of_range', 'p_limit is out of range: it must be from 1 to 100.', 'p_limit',
      'Choose a whole number from 1 to 100, and read the next page with p_before.', null,
      jsonb_build_object('min', 1, 'max', 100));
  end if;
  if p_before is not null then
    begin
      v_page.at := split_part(p_before, '/', 1)::timestamptz;
      v_page.id := split_part(p_before, '/', 2)::uuid;
    exception when data_exception then
      perform batchgen.refuse('invalid_cursor', 'p_before does not come from batches_page.', 'p_before',
        'Send next of the page before, or leave it out for the first page.');
    end;
  end if;
  v_page.states := case
    when p_state = 'active' then '{pending,processing}'
    when p_state = 'ended' then '{completed,partial,failed}'
    when p_state = any (v_states) then array[p_state]
  end;
  v_page.is_trashed := coalesce(p_state = 'trashed', false);
  if p_state <> '' and v_page.states is null and not v_page.is_trashed then
    perform batchgen.refuse('unknown_state', 'p_state is not a state of a batch.', 'p_state',
      'Send pending, processing, completed, partial, failed, active, ended or trashed, or leave it out.', null,
      to_jsonb(v_states || '{active,ended,trashed}'));
  end if;
  if length(p_tag) > 50 or length(p_search) > 200 then
    perform batchgen.refuse('too_long', format('%s is too long.', case when length(p_tag) > 50 then 'p_tag'
      else 'p_search' end), case when length(p_tag) > 50 then 'p_tag' else 'p_search' end,
      format('Shorten it to %s characters.', case when length(p_tag) > 50 then 50 else 200 end), null,
      to_jsonb(case when length(p_tag) > 50 then 50 else 200 end));
  end if;
  if not batchgen.is_blank(p_tag) then
    v_page.tag := batchgen.check_tag_name(lower(btrim(p_tag, E' \t\r\n')), 'p_tag');
  end if;
  if not batchgen.is_blank(p_search) then
    v_page.search := lower(btrim(p_search, E' \t\r\n'));
  end if;
  return v_page;
end
$$;
revoke execute on function batchgen.read_page_request(text, integer, text, text, text)
from public, anon, authenticated, service_role;
comment on function batchgen.read_page_request(text, integer, text, text, text) is
  'The arguments of batches_page, checked.';

-- batches_page_of(p_user_id, p_page)
-- The page of a user's batches, or of everybody's if p_user_id is null, without those in the trash unless asked for. A
-- tag or a search reads at most 1,000 batches per call: such a page may be short, and next then continues behind the
-- last batch that was read.
-- Caller: batches_page, batches_page_as.
create function batchgen.batches_page_of(p_user_id uuid, p_page batchgen.page_request) returns json
language plpgsql stable security definer set search_path = '' as $$
declare
  v_is_filtered boolean := p_page.tag is not null or p_page.search is not null;
  v_most integer := case when v_is_filtered then 1000 else p_page.size + 1 end;
  v_now timestamptz := clock_timestamp();
  v_read uuid[];
  v_found uuid[];
  v_last uuid;
begin
  -- Planned for these values: which index is best depends on how many batches the user and the states have.
  execute 'select array(select b.id from public.batch_generations b'
    || case when p_page.is_trashed then ' where' else ' where not' end
    || ' exists (select from batchgen.trashed_batches t where t.batch_id = b.id)'
    || case when p_user_id is not null then ' and b.user_id = $1' else '' end
    || case when p_page.at is not null then ' and (b.created_at, b.id) < ($2, $3)' else '' end
    || case when p_page.states is not null then ' and b.status = any ($4)' else '' end
    || ' order by b.created_at desc, b.id desc limit $5)'
  into v_read using p_user_id, p_page.at, p_page.id, p_page.states, v_most;
  v_found := case when v_is_filtered then batchgen.matching_batches(v_read, p_page) else v_read end;
  v_last := case
    when cardinality(v_found) > p_page.size then v_found[p_page.size]
    when v_is_filtered and cardinality(v_read) = v_most then v_read[v_most]
  end;
  return json_build_object(
    'now', v_now,
    'batches', coalesce((
      select json_agg(json_build_object('batch', d.batch, 'items', d.items)
        order by array_position(v_found, d.batch_id))
      from batchgen.details_of(v_found[: p_page.size], v_now) d
    ), '[]'::json),
    'next', (
      select (to_jsonb(b.created_at) #>> '{}') || '/' || b.id from public.batch_generations b where b.id = v_last
    )
  );
end
$$;
revoke execute on function batchgen.batches_page_of(uuid, batchgen.page_request)
from public, anon, authenticated, service_role;
comment on function batchgen.batches_page_of(uuid, batchgen.page_request) is 'A page of batches with their items.';

-- matching_batches(p_batch_ids, p_page)
-- Those of the batches, in the same order, that have the tag and the searched text: one more than a page at most. An
-- item has the tags of its picture, and those of its request before there is one.
create function batchgen.matching_batches(p_batch_ids uuid[], p_page batchgen.page_request) returns uuid[]
language plpgsql stable security definer set search_path = ''
set plan_cache_mode = 'force_generic_plan' set enable_seqscan = 'off' set jit = 'off' as $$
begin
  return array(
    select b.id
    -- Sorted before they are filtered, so that the filter stops at the limit.
    from (
      select o.id, o.nth, g.name from unnest(p_batch_ids) with ordinality o (id, nth)
      join public.batch_generations g on g.id = o.id order by o.nth offset 0
    ) b
    where (p_page.search is null or strpos(lower(b.name), p_page.search) > 0 or exists (
      select from public.image_generations g where g.batch_id = b.id and strpos(lower(g.prompt), p_page.search) > 0
    ))
    and (p_page.tag is null or exists (
      select from public.image_generations g
      left join public.images i on i.generation_id = g.id and i.user_id is not distinct from g.user_id
      where g.batch_id = b.id and case
        when i.id is null then exists (
          select from batchgen.generation_tags t where t.generation_id = g.id and t.name = p_page.tag
        )
        else exists (
          select from public.image_tags it join public.tags t on t.id = it.tag_id
          where it.image_id = i.id and t.name = p_page.tag
        )
      end
    ))
    limit p_page.size + 1
  );
end
$$;
revoke execute on function batchgen.matching_batches(uuid[], batchgen.page_request)
from public, anon, authenticated, service_role;
comment on function batchgen.matching_batches(uuid[], batchgen.page_request) is
  'Those of the batches that have a tag and a text.';

create function batchgen_api.batches_page(
  p_before text, p_limit integer, p_state text, p_tag text, p_search text
) returns json
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  return batchgen.batches_page_of(auth.uid(),
    batchgen.read_page_request(p_before, p_limit, p_state, p_tag, p_search));
end
$$;
revoke execute on function batchgen_api.batches_page(text, integer, text, text, text)
from public, anon, authenticated, service_role;
grant execute on function batchgen_api.batches_page(text, integer, text, text, text) to authenticated;
comment on function batchgen_api.batches_page(text, integer, text, text, text) is
  'Behind public.batches_page: for the signed-in user.';

-- batches_page(p_before, p_limit, p_state, p_tag, p_search)
-- A page of batches, newest first: {now, batches: [{batch, items}, …], next}, each batch as batch_details returns it.
-- next is p_before of the next page, null after the last one; a page of a search may be short although next is set.
-- p_limit: 1 to 100. p_state: a status of batches, active, ended, or trashed for those in the trash, which are left out
-- otherwise. p_tag: batches with an item that has this tag.
-- p_search: batches with this text in their name or in a prompt.
-- Caller: authenticated, for their own batches; service_role, for everybody's.
-- Errors: PT401; PT422 for arguments.
create function public.batches_page(
  p_before text default null, p_limit integer default 20, p_state text default null, p_tag text default null,
  p_search text default null
) returns json
language plpgsql stable set search_path = '' as $$
begin
  if has_function_privilege('public.batches_page_as(uuid, text, integer, text, text, text)', 'execute') then
    return public.batches_page_as(null, p_before, p_limit, p_state, p_tag, p_search);
  end if;
  return batchgen_api.batches_page(p_before, p_limit, p_state, p_tag, p_search);
end
$$;
revoke execute on function public.batches_page(text, integer, text, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.batches_page(text, integer, text, text, text) to authenticated, service_role;
comment on function public.batches_page(text, integer, text, text, text) is
  'A page of batches with their items and pictures, newest first.';

-- batches_page_as(p_user_id, p_before, p_limit, p_state, p_tag, p_search)
-- batches_page for an operator: the batches of one user, or everybody's if p_user_id is null.
-- Caller: service_role.
-- Errors: PT422 for arguments.
create function public.batches_page_as(
  p_user_id uuid, p_before text default null, p_limit integer default 20, p_state text default null,
  p_tag text default null, p_search text default null
) returns json
language plpgsql stable security definer set search_path = '' as $$
begin
  return batchgen.batches_page_of(p_user_id,
    batchgen.read_page_request(p_before, p_limit, p_state, p_tag, p_search));
end
$$;
revoke execute on function public.batches_page_as(uuid, text, integer, text, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.batches_page_as(uuid, text, integer, text, text, text) to service_role;
comment on function public.batches_page_as(uuid, text, integer, text, text, text) is
  'For operators: batches_page for one user, or for all.';
