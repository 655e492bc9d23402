-- batchgen.model_times: how long a picture of each model takes, from the start of the attempt to its end. Measured over
-- the last 20 pictures: from the mean to the 75th percentile. Until there are five, the estimate in the model's row.
create view batchgen.model_times with (security_invoker = on) as
select m.id as model_id, r.pictures::integer as pictures, r.pictures >= 5 as is_measured,
  case when r.pictures >= 5 then least(r.mean, r.p75) else e.seconds end as least_seconds,
  case when r.pictures >= 5 then greatest(r.mean, r.p75) else e.seconds end as most_seconds
from public.models m
left join batchgen.model_providers p on p.model_id = m.id
cross join lateral (
  select coalesce(p.estimated_seconds, case
    when m.estimated_time_seconds between 0 and 86400 then m.estimated_time_seconds::double precision
  end) as seconds
) e
cross join lateral (
  select count(*) as pictures, avg(t.seconds) as mean, percentile_cont(0.75) within group (order by t.seconds) as p75
  from (
    select extract(epoch from g.completed_at - g.started_at)::double precision as seconds
    from (
      select l.generation_id from batchgen.ledger l
      where l.model_id = m.id and l.outcome = 'completed' and not l.is_late
      order by l.noted_at desc limit 20
    ) l
    join public.image_generations g on g.id = l.generation_id
    where g.status = 'completed' and g.completed_at >= g.started_at
  ) t
) r;
revoke all on batchgen.model_times from public, anon, authenticated, service_role;
comment on view batchgen.model_times is 'How long a picture of each model takes, measured over the last 20 pictures.';
comment on column batchgen.model_times.model_id is 'models.id.';
comment on column batchgen.model_times.pictures is 'Number of measured pictures, at most 20.';
comment on column batchgen.model_times.is_measured is
  'True if the seconds are measured; false if they are the estimate in the model''s row.';
comment on column batchgen.model_times.least_seconds is
  'Mean, or the 75th percentile if that is less; empty if nothing is known.';
comment on column batchgen.model_times.most_seconds is 'The 75th percentile, or the mean if that is more.';
