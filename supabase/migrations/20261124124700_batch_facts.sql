-- What the counts of a batch do not tell, for whoever shows it to people: how many of its failed items were cancelled,
-- how many of its pictures were deleted, and since when it runs again, where its items were queued once more.

create table batchgen.reopened_batches (
  batch_id uuid primary key references public.batch_generations (id) on delete cascade,
  reopened_at timestamptz not null default clock_timestamp()
);
comment on table batchgen.reopened_batches is 'Batches that had ended and whose items were queued again.';
comment on column batchgen.reopened_batches.batch_id is 'The batch.';
comment on column batchgen.reopened_batches.reopened_at is 'When that was, the last time.';
alter table batchgen.reopened_batches enable row level security;
create policy "Nobody" on batchgen.reopened_batches for all to public using (false);
revoke all on batchgen.reopened_batches from public, anon, authenticated, service_role;

create function batchgen.after_batch_reopened() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into batchgen.reopened_batches (batch_id) values (new.id)
  on conflict (batch_id) do update set reopened_at = excluded.reopened_at;
  return null;
end
$$;
revoke execute on function batchgen.after_batch_reopened() from public, anon, authenticated, service_role;
comment on function batchgen.after_batch_reopened() is 'Trigger: notes when a batch that had ended runs again.';
create trigger batchgen_reopened after update of status on public.batch_generations
for each row when (old.status in ('completed', 'partial', 'failed') and new.status in ('pending', 'processing'))
execute function batchgen.after_batch_reopened();

-- batchgen_api.reopened_at(p_batch_id): null where it never was. Caller: batch_facts, for batches that it can see.
create function batchgen_api.reopened_at(p_batch_id uuid) returns timestamptz
language sql stable security definer set search_path = '' as $$
  select r.reopened_at from batchgen.reopened_batches r where r.batch_id = p_batch_id
$$;
revoke execute on function batchgen_api.reopened_at(uuid) from public, anon, authenticated, service_role;
grant execute on function batchgen_api.reopened_at(uuid) to authenticated, service_role;
comment on function batchgen_api.reopened_at(uuid) is 'When items of a batch that had ended were queued again.';

-- batch_facts(p_batch_ids): [{id, cancelled, deleted, reopened_at}, …] for those of the first 1,000 that the caller may
-- see. cancelled: failed items that somebody cancelled; deleted: completed items without a picture. Caller:
-- authenticated, service_role; each sees what row level security shows.
create function public.batch_facts(p_batch_ids uuid[]) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', b.id,
      'cancelled', (
        select count(*) from public.image_generations g
        where g.batch_id = b.id and g.status = 'failed' and g.error_code = 'cancelled'
      ),
      'deleted', (
        select count(*) from public.image_generations g
        where g.batch_id = b.id and g.status = 'completed'
          and not exists (select from public.images i where i.generation_id = g.id)
      ),
      'reopened_at', batchgen_api.reopened_at(b.id)
    ))
    from public.batch_generations b where b.id = any (p_batch_ids[:1000])
  ), '[]')
$$;
revoke execute on function public.batch_facts(uuid[]) from public, anon, authenticated, service_role;
grant execute on function public.batch_facts(uuid[]) to authenticated, service_role;
comment on function public.batch_facts(uuid[]) is
  'How many items of batches were cancelled, how many pictures deleted, and when they were queued again.';
notify pgrst, 'reload schema';
