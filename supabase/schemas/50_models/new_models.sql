-- A new project gets all known models, switched off: items of a model whose provider has no key would wait for ever.
insert into batchgen.models (
  name, display_name, is_active, provider, provider_model, provider_version, inputs, price_usd, estimated_seconds,
  default_steps, default_guidance_scale
)
select k.provider_model, k.display_name, false, k.provider, k.provider_model, k.provider_version, k.inputs, k.price_usd,
  k.estimated_seconds, k.default_steps, k.default_guidance_scale
from batchgen.known_models k
order by k.display_name;
