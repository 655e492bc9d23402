-- Tables that clients watch: batches and items for progress; images and their tags, so that a user's other devices
-- learn of new pictures, favourites, tags and deletions. Supabase has the publication already; elsewhere it is created
-- here. The replica identity stays the default: with row level security, an event's old_record has only the primary key
-- anyway.
do $$
declare
  v_table text;
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  foreach v_table in array array['batch_generations', 'image_generations', 'images', 'image_tags'] loop
    if not exists (
      select from pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = v_table
    ) then
      if exists (
        select from pg_class c
        where c.oid = ('public.' || v_table)::regclass and c.relreplident = 'd'
          and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)
      ) then
        -- In a publication, Postgres would refuse updates and deletes of such a table.
        raise notice 'public.% has no primary key, so that Realtime cannot report its changes.', v_table;
        continue;
      end if;
      execute format('alter publication supabase_realtime add table public.%I', v_table);
    end if;
  end loop;
end
$$;
