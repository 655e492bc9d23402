-- Tables that clients watch: batches and items for progress; images, so that a user's other devices learn of new
-- pictures, favourites and deletions. Supabase has the publication already; elsewhere it is created here. The replica
-- identity stays the default: with row level security, an event's old_record has only the primary key anyway.
do $$
declare
  v_table text;
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  foreach v_table in array array['batch_generations', 'image_generations', 'images'] loop
    if not exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = v_table
    ) then
      execute format('alter publication supabase_realtime add table public.%I', v_table);
    end if;
  end loop;
end
$$;
