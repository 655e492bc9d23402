create table batchgen.requests (
  user_id uuid not null references auth.users (id) on delete cascade,
  client_key text not null,
  body_hash bytea not null,
  batch_id uuid references public.batch_generations (id) on delete cascade,
  created_at timestamptz not null default now(),
  primary key (user_id, client_key)
);
create index requests_batch on batchgen.requests (batch_id);

alter table batchgen.requests enable row level security;
create policy "Nobody" on batchgen.requests for all to public using (false);
revoke all on batchgen.requests from public, anon, authenticated, service_role;

comment on table batchgen.requests is 'Batches by client_key: a repeated request returns the same batch.';
comment on column batchgen.requests.user_id is 'Sender of the request.';
comment on column batchgen.requests.client_key is 'Key that the sender gave the request.';
comment on column batchgen.requests.body_hash is 'Hash of the request: the same key with another body is refused.';
comment on column batchgen.requests.batch_id is 'The batch that the request created.';
comment on column batchgen.requests.created_at is 'When the request was accepted.';
