-- Tables that clients watch: batches and items for progress; images and their tags, so that a user's other devices
-- learn of new pictures, favourites, tags and deletions. The replica identity stays the default: with row level
-- security, an event's old_record has only the primary key anyway.
alter publication supabase_realtime add table
  public.batch_generations, public.image_generations, public.images, public.image_tags;
