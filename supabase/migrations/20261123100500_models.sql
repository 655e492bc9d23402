-- batchgen.models: a model and its provider in one row. Insert, update and delete write both tables.
create view batchgen.models with (security_invoker = on) as
select m.id, m.name, m.display_name, m.is_active, m.is_default, coalesce(p.provider, 'offline') as provider,
  coalesce(p.provider_model, m.replicate_id) as provider_model, p.provider_version, p.inputs,
  -- A price in the app's own column that is out of range counts as none.
  coalesce(
    p.price_usd, case when m.cost_per_generation between 0 and 1000 then m.cost_per_generation::numeric(12, 6) end
  ) as price_usd,
  coalesce(p.estimated_seconds, m.estimated_time_seconds) as estimated_seconds, m.default_steps,
  m.default_guidance_scale
from public.models m left join batchgen.model_providers p on p.model_id = m.id;
revoke all on batchgen.models from public, anon, authenticated, service_role;
comment on view batchgen.models is
  'Models with their providers, for admins: rows inserted, updated or deleted here take effect at the next claim.';
comment on column batchgen.models.id is 'models.id.';
comment on column batchgen.models.name is 'Short unique name; by default the model''s id at its provider.';
comment on column batchgen.models.display_name is 'Name shown to users; by default the name.';
comment on column batchgen.models.is_active is 'True if requests may name the model; true by default.';
comment on column batchgen.models.is_default is 'Used if a request names no model.';
comment on column batchgen.models.provider is
  'Provider that runs the model: offline, replicate, fal, openai, comfyui or automatic1111.';
comment on column batchgen.models.provider_model is 'The model''s id at the provider.';
comment on column batchgen.models.provider_version is 'Version at the provider if a request names none.';
comment on column batchgen.models.inputs is 'Names and ranges of the model''s inputs (docs/models.md).';
comment on column batchgen.models.price_usd is 'Price of one picture, in US dollars.';
comment on column batchgen.models.estimated_seconds is 'Usual time to make a picture, in seconds.';
comment on column batchgen.models.default_steps is 'Steps if a request names none.';
comment on column batchgen.models.default_guidance_scale is 'Guidance scale if a request names none.';

-- put_model_provider(p_model, p_model_id)
-- Write the provider half of a row of the view.
create function batchgen.put_model_provider(p_model batchgen.models, p_model_id uuid) returns void
language sql set search_path = '' as $$
  insert into batchgen.model_providers as p (model_id, provider, provider_model, provider_version, inputs, price_usd,
    estimated_seconds)
  values (p_model_id, coalesce(p_model.provider, 'offline'), p_model.provider_model, p_model.provider_version,
    p_model.inputs, p_model.price_usd, p_model.estimated_seconds)
  on conflict (model_id) do update set provider = excluded.provider, provider_model = excluded.provider_model,
    provider_version = excluded.provider_version, inputs = excluded.inputs, price_usd = excluded.price_usd,
    estimated_seconds = excluded.estimated_seconds
$$;
revoke execute on function batchgen.put_model_provider(batchgen.models, uuid)
from public, anon, authenticated, service_role;
comment on function batchgen.put_model_provider(batchgen.models, uuid) is
  'Writes which provider runs a model, and how.';

create function batchgen.instead_of_models_written() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_op = 'DELETE' then
    delete from public.models m where m.id = old.id;
    return old;
  end if;
  if tg_op = 'INSERT' then
    new.id := coalesce(new.id, gen_random_uuid());
    new.name := coalesce(new.name, new.provider_model);
    insert into public.models (
      id, name, display_name, replicate_id, is_active, is_default, cost_per_generation, estimated_time_seconds,
      default_steps, default_guidance_scale, supports_negative_prompt, supports_seed
    ) values (
      new.id, new.name, coalesce(new.display_name, new.name), coalesce(new.provider_model, new.name),
      coalesce(new.is_active, true),
      coalesce(new.is_default, false), new.price_usd, ceil(new.estimated_seconds), new.default_steps,
      new.default_guidance_scale, coalesce(new.inputs ->> 'negative_prompt', '') <> '',
      coalesce(jsonb_typeof(new.inputs -> 'seed') = 'object', false)
    );
  else
    -- replicate_id stays: the app requests the model by it, whichever provider runs it.
    update public.models m
    set name = new.name, display_name = new.display_name, is_active = new.is_active, is_default = new.is_default,
      -- The app may sell pictures at a price of its own, such as credits: an edit of something else leaves it.
      cost_per_generation = case
        when new.price_usd is distinct from old.price_usd then new.price_usd else m.cost_per_generation
      end,
      estimated_time_seconds = ceil(new.estimated_seconds),
      default_steps = new.default_steps, default_guidance_scale = new.default_guidance_scale,
      -- After a move to a provider with other inputs, the app must ask for those.
      supports_negative_prompt = case
        when new.inputs is not null and new.inputs is distinct from old.inputs
          then coalesce(new.inputs ->> 'negative_prompt', '') <> ''
        else m.supports_negative_prompt
      end,
      supports_seed = case
        when new.inputs is not null and new.inputs is distinct from old.inputs
          then coalesce(jsonb_typeof(new.inputs -> 'seed') = 'object', false)
        else m.supports_seed
      end
    where m.id = old.id;
  end if;
  perform batchgen.put_model_provider(new, coalesce(old.id, new.id));
  return new;
end
$$;
revoke execute on function batchgen.instead_of_models_written() from public, anon, authenticated, service_role;
comment on function batchgen.instead_of_models_written() is
  'Writes a row of the view batchgen.models into its two tables.';

create trigger instead_of_models_written instead of insert or update or delete on batchgen.models
for each row execute function batchgen.instead_of_models_written();

-- adopt_known_models()
-- Assign known models to their provider, in a project that had its own models: those whose replicate_id is known and
-- that have no provider yet are ordered at their provider from now on. Returns the number of models assigned.
-- Caller: an admin only, since pictures cost money from then on.
create function batchgen.adopt_known_models() returns integer
language sql set search_path = '' as $$
  with adopted as (
    insert into batchgen.model_providers (model_id, provider, provider_model, provider_version, inputs, price_usd,
      estimated_seconds)
    select m.id, k.provider, k.provider_model, k.provider_version, k.inputs, k.price_usd, k.estimated_seconds
    from public.models m join batchgen.known_models k on k.provider_model = m.replicate_id
    on conflict do nothing
    returning 1
  )
  select count(*)::integer from adopted
$$;
revoke execute on function batchgen.adopt_known_models() from public, anon, authenticated, service_role;
comment on function batchgen.adopt_known_models() is
  'For admins of a project that had its own models: assigns the known ones among them to their provider. Returns '
  'their number.';

-- after_model_provider_changed()
-- Close the breaker of a model whose row was changed, so that a repaired model is tried at once.
create function batchgen.after_model_provider_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from batchgen.breakers b where b.model_id in (old.model_id, new.model_id);
  return null;
end
$$;
revoke execute on function batchgen.after_model_provider_changed() from public, anon, authenticated, service_role;
comment on function batchgen.after_model_provider_changed() is 'Trigger: lets a repaired or moved model run at once.';

create trigger after_model_provider_changed after insert or update or delete on batchgen.model_providers
for each row execute function batchgen.after_model_provider_changed();

-- find_model(p_model_id, p_field)
-- The active model with this models.id or models.replicate_id; for '' or null, the default model. p_field: its path in
-- the request, for errors.
create function batchgen.find_model(
  p_model_id text, p_field text default 'shared_settings.model_id'
) returns public.models
language plpgsql stable set search_path = '' as $$
declare
  v_model public.models;
begin
  if coalesce(p_model_id, '') = '' then
    select m.* into v_model from public.models m where m.is_active and m.is_default order by m.sort_order, m.name
      limit 1;
    if not found then
      perform batchgen.refuse('no_default_model', 'No active model is marked as the default.',
        p_field, 'Name a model, or have an admin set models.is_default on an active one.');
    end if;
    return v_model;
  end if;
  select m.* into v_model from public.models m
  where m.id::text = lower(p_model_id) or m.replicate_id = p_model_id
  order by m.is_active desc nulls last, m.sort_order, m.name limit 1;
  if not found then
    perform batchgen.refuse('unknown_model', p_field || ' matches no model.', p_field,
      'Use models.id or models.replicate_id of an active model, or leave it out for the default model.');
  end if;
  if v_model.is_active is not true then
    -- Without its name: an admin may have hidden it.
    perform batchgen.refuse('inactive_model', 'This model is not available.', p_field,
      'Choose an active model.');
  end if;
  return v_model;
end
$$;
revoke execute on function batchgen.find_model(text, text) from public, anon, authenticated, service_role;
comment on function batchgen.find_model(text, text) is 'The active model that a request names, or the default model.';

-- A new project gets all known models, switched off: items of a model whose provider has no key would wait for ever.
insert into batchgen.models (
  name, display_name, is_active, provider, provider_model, provider_version, inputs, price_usd, estimated_seconds,
  default_steps, default_guidance_scale
)
select k.provider_model, k.display_name, false, k.provider, k.provider_model, k.provider_version, k.inputs, k.price_usd,
  k.estimated_seconds, k.default_steps, k.default_guidance_scale
from batchgen.known_models k
where not exists (select from public.models m where m.replicate_id <> 'batchgen/offline-sketch')
order by k.display_name;

create function batchgen.provider_of(p_model_id uuid) returns text
language sql stable security definer set search_path = '' as $$
  select coalesce((select m.provider from batchgen.model_providers m where m.model_id = p_model_id), 'offline')
$$;
revoke execute on function batchgen.provider_of(uuid) from public, anon, authenticated, service_role;
comment on function batchgen.provider_of(uuid) is 'The provider that runs a model.';
