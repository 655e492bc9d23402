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
