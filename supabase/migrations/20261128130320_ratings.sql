create table batchgen.batch_ratings (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  stars integer not null constraint stars_in_range check (stars between 1 and 5),
  comment text constraint rating_comment_is_bounded check (length(comment) <= 500),
  rated_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp()
);

alter table batchgen.batch_ratings enable row level security;
create policy "Nobody" on batchgen.batch_ratings for all to public using (false);
revoke all on batchgen.batch_ratings from public, anon, authenticated, service_role;

comment on table batchgen.batch_ratings is 'How satisfied the owners of batches were, once per batch.';
comment on column batchgen.batch_ratings.batch_id is 'The batch.';
comment on column batchgen.batch_ratings.stars is '1 to 5 stars.';
comment on column batchgen.batch_ratings.comment is 'A sentence of the owner; empty if there is none.';
comment on column batchgen.batch_ratings.rated_at is 'When the batch was first rated.';
comment on column batchgen.batch_ratings.changed_at is 'When the rating was last changed.';

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

create function batchgen.rate_batch_images(p_ids uuid[], p_rating integer) returns batchgen.item_outcome[]
language plpgsql security definer set search_path = '' as $$
declare
  v_rated uuid[];
begin
  if p_rating is not null then
    perform batchgen.check_stars(p_rating, 'p_rating');
  end if;
  with rated as (
    update public.images i set rating = p_rating
    where i.id in (select p.image_id from batchgen.pictures_of(p_ids) p) and i.rating is distinct from p_rating
    returning i.id
  )
  select coalesce(array_agg(id), '{}') into v_rated from rated;
  return array(
    select row(
      p.generation_id, p.batch_index, p.image_id is not null,
      case when p.image_id is null then 'no_image' when p.image_id = any (v_rated)
        then 'rated' else 'already_rated' end,
      jsonb_build_object('image_id', p.image_id, 'rating', p_rating)
    )::batchgen.item_outcome
    from batchgen.pictures_of(p_ids) p
  );
end
$$;
revoke execute on function batchgen.rate_batch_images(uuid[], integer) from public, anon, authenticated, service_role;
comment on function batchgen.rate_batch_images(uuid[], integer) is 'Rates the pictures of items.';

-- rate_batch_images(p_batch_id, p_rating, p_generation_ids)
-- Rate the pictures of a batch, or of the named items, with 1 to 5 stars; null removes the rating.
-- Actions: rated, already_rated, with image_id and rating. Refused: no_image.
-- Caller: authenticated, for a batch of their own; service_role, for any.
-- Errors: PT401, PT404; PT422 for a rating out of range or too many ids.
create function public.rate_batch_images(
  p_batch_id uuid, p_rating integer, p_generation_ids uuid[] default null
) returns jsonb
language sql set search_path = '' as $$
  select batchgen_api.act('rate', p_batch_id, p_generation_ids, jsonb_build_object('rating', p_rating))
$$;
revoke execute on function public.rate_batch_images(uuid, integer, uuid[])
from public, anon, authenticated, service_role;
grant execute on function public.rate_batch_images(uuid, integer, uuid[]) to authenticated, service_role;
comment on function public.rate_batch_images(uuid, integer, uuid[]) is
  'Rates the pictures of a batch, all or those of the named items, with 1 to 5 stars.';

create view batchgen.satisfaction with (security_invoker = on) as
select date_trunc('month', r.rated_at at time zone 'UTC')::date as month, count(*) as ratings,
  round(avg(r.stars), 2) as average_stars, count(*) filter (where r.stars >= 4) as satisfied
from batchgen.batch_ratings r
group by grouping sets ((date_trunc('month', r.rated_at at time zone 'UTC')), ())
order by 1 desc nulls first;
revoke all on batchgen.satisfaction from public, anon, authenticated, service_role;
comment on view batchgen.satisfaction is 'Ratings of batches, in all (empty month) and by month of the rating (UTC).';
comment on column batchgen.satisfaction.month is 'First day of the month; empty in the row of all months.';
comment on column batchgen.satisfaction.ratings is 'Number of rated batches.';
comment on column batchgen.satisfaction.average_stars is 'Average number of stars.';
comment on column batchgen.satisfaction.satisfied is 'Number of ratings of 4 or 5 stars.';
