-- rating_of(p_batch_id)
-- {stars, comment, rated_at, changed_at} of a batch; null if it is not rated.
create function batchgen.rating_of(p_batch_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('stars', r.stars, 'comment', r.comment, 'rated_at', r.rated_at, 'changed_at', r.changed_at)
  from batchgen.batch_ratings r where r.batch_id = p_batch_id
$$;
revoke execute on function batchgen.rating_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.rating_of(uuid) is 'The rating of a batch; null if there is none.';

-- check_own_batch(p_batch_id)
-- Refuse a caller without a session, and a batch that is not the caller's.
create function batchgen.check_own_batch(p_batch_id uuid) returns void
language plpgsql stable security definer set search_path = '' as $$
begin
  if auth.uid() is null then
    perform batchgen.refuse('not_signed_in', 'You are not signed in.', null, 'Sign in, then try again.', null, null,
      'PT401');
  end if;
  if not exists (select from public.batch_generations b where b.id = p_batch_id and b.user_id = auth.uid()) then
    perform batchgen.refuse_batch();
  end if;
end
$$;
revoke execute on function batchgen.check_own_batch(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.check_own_batch(uuid) is 'Refuses a batch that is not the signed-in user''s.';

create function batchgen.check_stars(p_stars integer, p_field text) returns void
language plpgsql set search_path = '' as $$
begin
  if p_stars is null or p_stars not between 1 and 5 then
    perform batchgen.refuse('out_of_range', format('%s is out of range: it must be from 1 to 5.', p_field), p_field,
      'Send 1 to 5 stars.', null, '{"min": 1, "max": 5}');
  end if;
end
$$;
revoke execute on function batchgen.check_stars(integer, text) from public, anon, authenticated, service_role;
comment on function batchgen.check_stars(integer, text) is 'Refuses a rating that is not 1 to 5 stars.';

create function batchgen_api.rate_batch(p_batch_id uuid, p_stars integer, p_comment text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_comment text := btrim(p_comment, E' \t\r\n');
begin
  perform batchgen.check_own_batch(p_batch_id);
  perform batchgen.check_stars(p_stars, 'p_stars');
  perform batchgen.check_text(v_comment, 'p_comment', 500);
  if batchgen.is_blank(v_comment) then
    v_comment := null;
  end if;
  insert into batchgen.batch_ratings as r (batch_id, stars, comment) values (p_batch_id, p_stars, v_comment)
  on conflict (batch_id) do update
    set stars = excluded.stars, comment = excluded.comment, changed_at = excluded.changed_at
    where (r.stars, r.comment) is distinct from (excluded.stars, excluded.comment);
  return batchgen.rating_of(p_batch_id);
end
$$;
revoke execute on function batchgen_api.rate_batch(uuid, integer, text) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.rate_batch(uuid, integer, text) to authenticated;
comment on function batchgen_api.rate_batch(uuid, integer, text) is 'Behind public.rate_batch: for the batch''s owner.';

-- rate_batch(p_batch_id, p_stars, p_comment)
-- Rate a batch with 1 to 5 stars and a sentence; a later call replaces both. Returns {stars, comment, rated_at,
-- changed_at}.
-- Caller: authenticated, for a batch of their own.
-- Errors: PT401, PT404; PT422 for stars or a comment out of range.
create function public.rate_batch(p_batch_id uuid, p_stars integer, p_comment text default null) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.rate_batch(p_batch_id, p_stars, p_comment)
$$;
revoke execute on function public.rate_batch(uuid, integer, text) from public, anon, authenticated, service_role;
grant execute on function public.rate_batch(uuid, integer, text) to authenticated;
comment on function public.rate_batch(uuid, integer, text) is
  'Rates a batch with 1 to 5 stars and a sentence; a later call replaces both.';

create function batchgen_api.get_batch_rating(p_batch_id uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
begin
  perform batchgen.check_own_batch(p_batch_id);
  return batchgen.rating_of(p_batch_id);
end
$$;
revoke execute on function batchgen_api.get_batch_rating(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.get_batch_rating(uuid) to authenticated;
comment on function batchgen_api.get_batch_rating(uuid) is 'Behind public.get_batch_rating: for the batch''s owner.';

-- get_batch_rating(p_batch_id)
-- {stars, comment, rated_at, changed_at}; null if the batch is not rated.
-- Caller: authenticated, for a batch of their own.
-- Errors: PT401, PT404.
create function public.get_batch_rating(p_batch_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select batchgen_api.get_batch_rating(p_batch_id)
$$;
revoke execute on function public.get_batch_rating(uuid) from public, anon, authenticated, service_role;
grant execute on function public.get_batch_rating(uuid) to authenticated;
comment on function public.get_batch_rating(uuid) is 'The owner''s rating of a batch; null if there is none.';
