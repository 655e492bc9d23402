create function batchgen.check_tag_name(p_name text, p_field text, p_index integer default null) returns text
language plpgsql set search_path = '' as $$
begin
  if batchgen.has_hidden_characters(p_name) then
    perform batchgen.refuse('not_allowed', format('%s has a tag with control or invisible characters.', p_field),
      p_field, 'Use visible characters only.', p_index);
  end if;
  return case when getdatabaseencoding() = 'UTF8' then normalize(p_name, NFC) else p_name end;
end
$$;
revoke execute on function batchgen.check_tag_name(text, text, integer) from public, anon, authenticated, service_role;
comment on function batchgen.check_tag_name(text, text, integer) is
  'Returns a tag''s name in composed form (NFC); refuses invisible characters.';

-- clean_tags(p_tags)
-- Trim tags, lower their case and remove duplicates, keeping their order.
-- Errors: PT422 for an invalid tag.
create function batchgen.clean_tags(p_tags text[]) returns text[]
language plpgsql set search_path = '' as $$
declare
  v_tag text;
  v_name text;
  v_names text[] := '{}';
begin
  if coalesce(cardinality(p_tags), 0) = 0 then
    perform batchgen.refuse('tags_missing', 'p_tags has no tags.', 'p_tags', 'Send 1 to 20 tags.', null, to_jsonb(20));
  end if;
  if cardinality(p_tags) > 20 then
    perform batchgen.refuse('too_many_tags', format('p_tags has %s tags; at most 20 are allowed.', cardinality(p_tags)),
      'p_tags',
      'Send at most 20 tags.', null, to_jsonb(20));
  end if;
  foreach v_tag in array p_tags loop
    if length(v_tag) > 50 then
      perform batchgen.refuse('too_long', format('p_tags has a tag of %s characters; at most 50 are allowed.',
        length(v_tag)), 'p_tags',
        'Shorten it to 50 characters.', null, to_jsonb(50));
    end if;
    v_name := batchgen.check_tag_name(lower(btrim(v_tag, E' \t\r\n')), 'p_tags');
    if v_name is null or batchgen.is_blank(v_name) then
      perform batchgen.refuse('blank_tag', 'p_tags has an empty tag.', 'p_tags', 'Leave the tag out.');
    end if;
    if not v_name = any (v_names) then
      v_names := v_names || v_name;
    end if;
  end loop;
  return v_names;
end
$$;
revoke execute on function batchgen.clean_tags(text[]) from public, anon, authenticated, service_role;
comment on function batchgen.clean_tags(text[]) is
  'Trims tags, lowers their case, removes duplicates; PT422 for an invalid tag.';

-- count_tags(p_user_id)
-- Refuse if the user has created more than the maximum of 1,000 tags. A lock per user makes concurrent statements see
-- each other's tags.
create function batchgen.count_tags(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  if p_user_id is null then
    return;
  end if;
  perform pg_advisory_xact_lock(hashtextextended('batchgen.tags ' || p_user_id, 0));
  if exists (select from public.tags t where t.created_by = p_user_id offset 1000) then
    perform batchgen.refuse_rows('too_many_tags', 'tags', 'tags per user', 1000,
      'Use existing tags, or delete some of yours.');
  end if;
end
$$;
revoke execute on function batchgen.count_tags(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.count_tags(uuid) is 'Refuses if a user has created more than the maximum number of tags.';

-- check_new_tags(p_user_id, p_names)
-- Refuse new tags of a batch that would exceed that maximum, before anything is paid.
create function batchgen.check_new_tags(p_user_id uuid, p_names text[]) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_new integer;
begin
  select count(distinct n.name) into v_new from unnest(p_names) n (name)
  where not exists (select from public.tags t where t.name = n.name);
  if v_new > 0 and not batchgen.is_operator()
    and exists (select from public.tags t where t.created_by = p_user_id offset greatest(1000 - v_new, 0))
  then
    perform batchgen.refuse_rows('too_many_tags', 'tags', 'tags per user', 1000,
      'Use existing tags, or delete some of yours.');
  end if;
end
$$;
revoke execute on function batchgen.check_new_tags(uuid, text[]) from public, anon, authenticated, service_role;
comment on function batchgen.check_new_tags(uuid, text[]) is
  'Refuses new tags of a batch that would exceed its user''s maximum.';
