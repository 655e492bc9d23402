-- The tables that clients watch: batches and items for progress, images so that a user's other devices learn of a new
-- picture, a favourite or a deletion. The replica identity stays the default: with row level security an event's
-- old_record is the primary key in any case.
alter publication supabase_realtime add table
  public.batch_generations, public.image_generations, public.images;
