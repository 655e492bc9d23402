create table batchgen.batch_ratings (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  stars integer not null constraint stars_in_range check (stars between 1 and 5),
  comment text constraint rating_comment_is_bounded check (length(comment) <= 500),
  rated_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp()
);

alter table batchgen.batch_ratings enable row level security;
create policy "Nobody" on batchgen.batch_ratings for all to public using (false);
revoke all on batchgen.batch_ratings from public, anon, authenticated, service_role;

comment on table batchgen.batch_ratings is 'How satisfied the owners of batches were, once per batch.';
comment on column batchgen.batch_ratings.batch_id is 'The batch.';
comment on column batchgen.batch_ratings.stars is '1 to 5 stars.';
comment on column batchgen.batch_ratings.comment is 'A sentence of the owner; empty if there is none.';
comment on column batchgen.batch_ratings.rated_at is 'When the batch was first rated.';
comment on column batchgen.batch_ratings.changed_at is 'When the rating was last changed.';
