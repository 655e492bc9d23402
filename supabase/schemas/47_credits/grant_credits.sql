-- note_credits(p_entry, p_user_id, p_credits, p_note, p_key)
-- Write a grant or an adjustment. Repeated with the same key, it is written once. Returns the user's credits, and
-- whether the row is new.
-- Caller: grant_credits, note_credit_adjustment.
-- Locks: the user's row in auth.users.
-- Errors: PT404 if there is no such user; PT422 for a note or a key that is too long; PT409 if the key was used for
-- something else.
create function batchgen.note_credits(p_entry text, p_user_id uuid, p_credits numeric, p_note text, p_key text)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  v_key text := coalesce(nullif(btrim(p_key), ''), gen_random_uuid()::text);
  v_is_new boolean;
begin
  perform batchgen.check_text(p_note, 'p_note', 500);
  perform batchgen.check_text(p_key, 'p_key', 200);
  perform 1 from auth.users u where u.id = p_user_id for key share;
  if not found then
    perform batchgen.refuse('user_not_found', 'There is no such user.', 'p_user_id',
      'Use the id of a row in auth.users.', null, null, 'PT404');
  end if;
  insert into batchgen.credit_ledger (user_id, entry, amount, key, note)
  values (p_user_id, p_entry, p_credits, v_key, nullif(p_note, '')) on conflict do nothing;
  v_is_new := found;
  if not v_is_new and not exists (
    select from batchgen.credit_ledger l
    where l.user_id = p_user_id and l.key = v_key and l.entry = p_entry and l.amount = round(p_credits, 6)
  ) then
    perform batchgen.refuse('key_reused', 'This key was used for another grant or adjustment of this user.', 'p_key',
      'Use a new key, or repeat the same call.', null, null, 'PT409');
  end if;
  return batchgen.credit_figures(p_user_id) || jsonb_build_object('is_new', v_is_new);
end
$$;
revoke execute on function batchgen.note_credits(text, uuid, numeric, text, text)
from public, anon, authenticated, service_role;
comment on function batchgen.note_credits(text, uuid, numeric, text, text) is
  'Writes a grant or an adjustment of a user''s credits.';

-- grant_credits(p_user_id, p_credits, p_note, p_key)
-- Give a user credits. p_note: the reason, shown to the user. p_key: repeated with the same key, the grant counts once.
-- Returns {balance, held, available, is_new}.
-- Caller: service_role.
-- Errors: PT404, PT409, PT422.
create function public.grant_credits(
  p_user_id uuid, p_credits numeric, p_note text default null, p_key text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  -- Also refuses NaN and infinity, which are greater than every number.
  if p_credits is null or p_credits not between 0.000001 and 1000000000 then
    perform batchgen.refuse_argument('p_credits', 'is not between 0.000001 and 1000000000',
      'Give a number in this range; use note_credit_adjustment to take credits away.');
  end if;
  return batchgen.note_credits('grant', p_user_id, p_credits, p_note, p_key);
end
$$;
revoke execute on function public.grant_credits(uuid, numeric, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.grant_credits(uuid, numeric, text, text) to service_role;
comment on function public.grant_credits(uuid, numeric, text, text) is 'For operators: gives a user credits.';

-- note_credit_adjustment(p_user_id, p_credits, p_note, p_key)
-- Correct a user's balance by a positive or negative number of credits; the balance may become negative. Arguments and
-- answer as grant_credits, except that the note is required.
-- Caller: service_role.
-- Errors: PT404, PT409, PT422.
create function public.note_credit_adjustment(
  p_user_id uuid, p_credits numeric, p_note text, p_key text default null
) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
  if p_credits is null or abs(p_credits) not between 0.000001 and 1000000000 then
    perform batchgen.refuse_argument('p_credits', 'is 0 or not between -1000000000 and 1000000000',
      'Give the difference: positive to add credits, negative to take them away.');
  end if;
  if coalesce(btrim(p_note), '') = '' then
    perform batchgen.refuse_argument('p_note', 'is missing', 'Give the reason; the user sees it.');
  end if;
  return batchgen.note_credits('adjust', p_user_id, p_credits, p_note, p_key);
end
$$;
revoke execute on function public.note_credit_adjustment(uuid, numeric, text, text)
from public, anon, authenticated, service_role;
grant execute on function public.note_credit_adjustment(uuid, numeric, text, text) to service_role;
comment on function public.note_credit_adjustment(uuid, numeric, text, text) is
  'For operators: corrects a user''s balance of credits.';
