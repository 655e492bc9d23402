-- Both tables that clients watch. Supabase has the publication already; elsewhere it is made here. The replica
-- identity stays the default: with row level security an event's old_record is the primary key in any case.
do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  if not exists (
    select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'batch_generations'
  ) then
    alter publication supabase_realtime add table public.batch_generations;
  end if;
  if not exists (
    select from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'image_generations'
  ) then
    alter publication supabase_realtime add table public.image_generations;
  end if;
end
$$;

-- PostgREST reads the schema once; tell it that there is more now.
notify pgrst, 'reload schema';
