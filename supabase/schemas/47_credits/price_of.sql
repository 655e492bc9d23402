-- price_of(p_user_id, p_model_id)
-- Price of one picture for the user, in credits: the user's own price for the model, else for all models, else
-- models.cost_per_generation. A missing or invalid price is 0.
create function batchgen.price_of(p_user_id uuid, p_model_id uuid) returns numeric
language sql stable security definer set search_path = '' as $$
  select coalesce(
    (
      select p.credits from batchgen.credit_prices p
      where p.user_id = p_user_id and (p.model_id = p_model_id or p.model_id is null)
      order by p.model_id nulls last limit 1
    ),
    (
      select case when m.cost_per_generation between 0 and 1000000 then m.cost_per_generation::numeric(18, 6) end
      from public.models m where m.id = p_model_id
    ),
    0
  )
$$;
revoke execute on function batchgen.price_of(uuid, uuid) from public, anon, authenticated, service_role;
comment on function batchgen.price_of(uuid, uuid) is 'Price of one picture for a user, in credits.';
