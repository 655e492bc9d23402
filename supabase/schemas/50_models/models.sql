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
