-- input_range(p_input, p_least, p_most, p_default)
-- {min, max, default} of a number of a request: the request's own limits, narrowed by the model's input; null if the
-- model has no such input or always gets a fixed value. p_input: null for a model without a list of inputs.
create function batchgen.input_range(p_input jsonb, p_least numeric, p_most numeric, p_default numeric) returns jsonb
language sql immutable set search_path = '' as $$
  select case when jsonb_typeof(p_input) is distinct from 'null' and p_input -> 'fixed' is null then jsonb_build_object(
    -- A row may have anything there; read_spec refuses it when an item is about to be ordered.
    'min', greatest(p_least, case when jsonb_typeof(p_input -> 'min') = 'number' then (p_input ->> 'min')::numeric end),
    'max', least(p_most, case when jsonb_typeof(p_input -> 'max') = 'number' then (p_input ->> 'max')::numeric end),
    'default', p_default
  ) end
$$;
revoke execute on function batchgen.input_range(jsonb, numeric, numeric, numeric)
from public, anon, authenticated, service_role;
comment on function batchgen.input_range(jsonb, numeric, numeric, numeric) is
  'The range of a number that a request may name, for one model.';

-- get_models()
-- The models that a request may name, the default first, and what each takes. width, height, steps, guidance_scale:
-- {min, max, default}, null if the model takes none. aspect_ratios and sizes: lists if the model takes only these; a
-- request's size is fitted to the nearest. price_usd: of one picture. estimated_seconds: from the model's row;
-- least_seconds to most_seconds: batchgen.model_times.
-- Caller: authenticated; service_role, with provider, provider_model and inactive models.
create function public.get_models()
returns table (
  id uuid, name text, display_name text, replicate_id text, provider text, provider_model text, is_active boolean,
  is_default boolean, price_usd numeric, estimated_seconds double precision, default_width integer,
  default_height integer,
  min_width integer, max_width integer, min_height integer, max_height integer, max_steps integer,
  description text, width jsonb, height jsonb, aspect_ratios jsonb, sizes jsonb, steps jsonb, guidance_scale jsonb,
  supports_seed boolean, supports_negative_prompt boolean, least_seconds double precision,
  most_seconds double precision, is_measured boolean
)
language sql stable security definer set search_path = '' as $$
  select m.id, m.name, m.display_name, m.replicate_id, case when o.is_operator then b.provider end,
    case when o.is_operator then b.provider_model end, coalesce(m.is_active, false),
    coalesce(m.is_default, false), b.price_usd, b.estimated_seconds, m.default_width, m.default_height,
    m.min_width, m.max_width, m.min_height, m.max_height, m.max_steps,
    -- Through JSON: columns of the app that an existing project may lack.
    to_jsonb(m) ->> 'description',
    batchgen.input_range(null, coalesce(m.min_width, 16), coalesce(m.max_width, 4096),
      coalesce(m.default_width, 1024)),
    batchgen.input_range(null, coalesce(m.min_height, 16), coalesce(m.max_height, 4096),
      coalesce(m.default_height, 1024)),
    case
      when jsonb_typeof(i.ratios) = 'array' then i.ratios
      when i.size ->> 'kind' = 'aspect_ratio' then i.size -> 'choices'
    end,
    case when i.size ->> 'kind' = 'choices' then i.size -> 'choices' end,
    batchgen.input_range(i.steps, 1, coalesce(m.max_steps, 200), m.default_steps),
    batchgen.input_range(i.guidance_scale, 0, s.max_guidance_scale::numeric, m.default_guidance_scale::numeric),
    coalesce(m.supports_seed, false), coalesce(m.supports_negative_prompt, false), t.least_seconds, t.most_seconds,
    t.is_measured
  from (select batchgen.is_operator() as is_operator) o
  cross join batchgen.settings s
  cross join public.models m
  join batchgen.models b on b.id = m.id
  join batchgen.model_times t on t.model_id = m.id
  cross join lateral (
    select to_jsonb(m) -> 'supported_aspect_ratios' as ratios,
      case when jsonb_typeof(b.inputs -> 'size' -> 'choices') = 'array' then b.inputs -> 'size' end as size,
      case when b.inputs is not null then coalesce(b.inputs -> 'steps', 'null') end as steps,
      case when b.inputs is not null then coalesce(b.inputs -> 'guidance_scale', 'null') end as guidance_scale
  ) i
  where m.is_active or o.is_operator
  order by coalesce(m.is_active, false) desc, coalesce(m.is_default, false) desc, m.sort_order, m.display_name, m.id
$$;
revoke execute on function public.get_models() from public, anon, authenticated, service_role;
grant execute on function public.get_models() to authenticated, service_role;
comment on function public.get_models() is
  'The models that a request may name, what they take, their price and their time.';
