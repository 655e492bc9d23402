-- closed_models()
-- Models that may start nothing now, with the reason and the end of the pause (empty: a probe runs).
create function batchgen.closed_models() returns table (model_id uuid, reason text, name text, "until" timestamptz)
language sql security definer set search_path = '' as $$
  select m.id, 'provider', p.name, p.not_before
  from batchgen.providers p
  join (select id from public.models union all select '00000000-0000-0000-0000-000000000000') m
    on batchgen.provider_of(m.id) = p.name
  where p.not_before > clock_timestamp()
  union all
  select b.model_id, 'breaker', m.display_name, case when b.opened_until > clock_timestamp() then b.opened_until end
  from batchgen.breakers b left join public.models m on m.id = b.model_id
  where b.opened_until is not null and (
    b.opened_until > clock_timestamp()
    or exists (select from batchgen.queue q where q.lease_id = b.probe_lease_id
      and q.lease_expires_at > clock_timestamp())
  )
$$;
revoke execute on function batchgen.closed_models() from public, anon, authenticated, service_role;
comment on function batchgen.closed_models() is
  'Models that may start nothing now, with the reason and the end of the pause.';

-- closed_and_tried_models()
-- Models that may start nothing, and models that may start one item as a probe. A breaker that another session is
-- updating counts as closed to this claim.
-- Caller: the claim, alone under its lock.
create function batchgen.closed_and_tried_models(out closed_ids uuid[], out tried_ids uuid[])
language plpgsql security definer set search_path = '' as $$
declare
  v_half_open uuid[];
begin
  closed_ids := array(select distinct c.model_id from batchgen.closed_models() c);
  v_half_open := array(
    select b.model_id from batchgen.breakers b where b.opened_until is not null and b.model_id <> all (closed_ids)
  );
  tried_ids := array(
    select b.model_id from batchgen.breakers b where b.model_id = any (v_half_open)
      and b.opened_until <= clock_timestamp()
    for no key update skip locked
  );
  closed_ids := closed_ids || array(select id from unnest(v_half_open) id where id <> all (tried_ids));
end
$$;
revoke execute on function batchgen.closed_and_tried_models() from public, anon, authenticated, service_role;
comment on function batchgen.closed_and_tried_models() is
  'For the claim: models that may start nothing, and models that may start one probe.';
