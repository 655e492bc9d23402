-- Comments for the Table Editor: on each of the app's tables and columns that has none yet. Existing comments stay.
do $$
declare
  v_relation text;
  v_column text;
  v_comment text;
  v_kind text;
  v_number smallint;
begin
  for v_relation, v_column, v_comment in
    values
      ('models', null,
        'Image models that users can choose, one per row. is_active offers a model; is_default is used where a '
        'request names none.'),
      ('models', 'id',
        'Id of the model, as in image_generations.model_id and in shared_settings.model_id of a request.'),
      ('models', 'name', 'Short unique name; copied to image_generations.model.'),
      ('models', 'display_name', 'Name shown to users.'),
      ('models', 'replicate_id', 'The model''s id at its provider.'),
      ('models', 'version', 'Version at the provider; empty means the official version.'),
      ('models', 'description', 'Description for users.'),
      ('models', 'cost_per_generation', 'Price of one picture, in the currency of the provider.'),
      ('models', 'estimated_time_seconds', 'Usual time to make a picture, in seconds.'),
      ('models', 'is_active', 'True if requests may name the model. Waiting items run either way.'),
      ('models', 'is_default', 'Used where a request names no model; among several, the first by sort_order and name.'),
      ('models', 'sort_order', 'Position in lists, lowest first.'),
      ('models', 'default_width', 'Width in pixels if a request names none.'),
      ('models', 'default_height', 'Height in pixels if a request names none.'),
      ('models', 'default_steps', 'Steps if a request names none.'),
      ('models', 'default_guidance_scale', 'Guidance scale if a request names none.'),
      ('models', 'default_strength', 'Strength for image-to-image if a request names none.'),
      ('models', 'min_width', 'Minimum width in pixels of a request; empty means 16.'),
      ('models', 'max_width', 'Maximum width in pixels of a request; empty means 4096.'),
      ('models', 'min_height', 'Minimum height in pixels of a request; empty means 16.'),
      ('models', 'max_height', 'Maximum height in pixels of a request; empty means 4096.'),
      ('models', 'max_steps', 'Maximum steps of a request; empty means 200.'),
      ('models', 'strength_min', 'Minimum strength for image-to-image.'),
      ('models', 'strength_max', 'Maximum strength for image-to-image.'),
      ('models', 'supported_aspect_ratios', 'Aspect ratios that the app offers, as a JSON list.'),
      ('models', 'supports_negative_prompt', 'True if the model takes a negative prompt.'),
      ('models', 'supports_seed', 'True if the same seed gives the same picture.'),
      ('models', 'supports_img2img', 'True if the model makes pictures from other pictures (older name).'),
      ('models', 'supports_image_to_image', 'True if the model makes pictures from other pictures.'),
      ('models', 'created_at', 'When the model was added.'),
      ('models', 'updated_at', 'When the row was last changed.'),

      ('image_generations', null,
        'One row per requested picture. Rows with a batch_id are run by the batchgen worker, rows without one by the '
        'app itself.'),
      ('image_generations', 'id', 'The item''s id; its picture is stored at {user_id}/{id}.{format}.'),
      ('image_generations', 'user_id', 'The item''s owner, whose limits it counts against.'),
      ('image_generations', 'prompt', 'Description of what the picture should show.'),
      ('image_generations', 'negative_prompt', 'Description of what the picture should not show.'),
      ('image_generations', 'model', 'models.name at the time of the request.'),
      ('image_generations', 'model_id', 'The model that makes the picture.'),
      ('image_generations', 'style', 'Name of a style in the app.'),
      ('image_generations', 'width', 'Width in pixels.'),
      ('image_generations', 'height', 'Height in pixels.'),
      ('image_generations', 'steps', 'Number of inference steps.'),
      ('image_generations', 'guidance_scale', 'How closely the picture follows the prompt.'),
      ('image_generations', 'seed',
        'Seed of the random numbers; chosen and stored where a request names none. 0 is a valid seed.'),
      ('image_generations', 'status',
        'pending, processing, completed or failed. Set it to pending to run the item again, or to failed to end it; '
        'the queue follows.'),
      ('image_generations', 'error_message', 'Error message for the user; empty unless the item has failed.'),
      ('image_generations', 'source_image_url', 'URL of the source picture, for the app''s single generations.'),
      ('image_generations', 'generation_strength', 'How far the picture may depart from its source picture.'),
      ('image_generations', 'replicate_prediction_id',
        'The provider''s job id of a single generation of the app; job ids of batch items are in batchgen.queue.'),
      ('image_generations', 'generation_time_seconds', 'Duration of the successful attempt, in seconds.'),
      ('image_generations', 'created_at', 'When the item was submitted; earlier items run first.'),
      ('image_generations', 'completed_at', 'When the item completed or failed.'),
      ('image_generations', 'batch_id',
        'The batch that this item belongs to; empty for single generations, which the batch worker never takes.'),
      ('image_generations', 'batch_index', 'Position of the item in its batch, from 0.'),
      ('image_generations', 'retry_count', 'Number of failed attempts that were retried.'),
      ('image_generations', 'priority', 'Higher runs first; 0 is normal.'),
      ('image_generations', 'error_code',
        'Error code for programs (cancelled, timeout, crashed, …); empty unless the item has failed.'),
      ('image_generations', 'started_at',
        'Start of the current or last attempt; empty for an item that was never started.'),

      ('images', null, 'Finished pictures. The file is in the bucket generated-images at storage_path.'),
      ('images', 'id', 'Id of the picture.'),
      ('images', 'generation_id', 'The item that made the picture; empty once the item is deleted.'),
      ('images', 'user_id', 'Owner of the picture.'),
      ('images', 'filename', 'File name for downloads.'),
      ('images', 'storage_path', 'Path of the file in the bucket generated-images.'),
      ('images', 'prompt', 'Prompt that the picture was made from.'),
      ('images', 'public_url', 'Public address of the file; anyone who knows it can see the picture.'),
      ('images', 'negative_prompt', 'Negative prompt that the picture was made from.'),
      ('images', 'model', 'models.name of the model that made the picture.'),
      ('images', 'style', 'Name of a style in the app.'),
      ('images', 'width', 'Width in pixels.'),
      ('images', 'height', 'Height in pixels.'),
      ('images', 'format', 'File format: png, webp or jpeg; svg only in rows of the app.'),
      ('images', 'file_size', 'Size of the file in bytes.'),
      ('images', 'blurhash', 'BlurHash: a short string from which the app draws a blurred preview.'),
      ('images', 'is_public', 'True if the owner shows the picture to others in the app.'),
      ('images', 'is_favorite', 'True if the owner marked the picture as a favourite.'),
      ('images', 'rating', 'The owner''s rating in stars, 1 to 5.'),
      ('images', 'download_count', 'Number of downloads in the app.'),
      ('images', 'archived_at', 'When the owner archived the picture; empty while it is in the gallery.'),
      ('images', 'source_image_id', 'The picture that this one was made from.'),
      ('images', 'generation_strength', 'How far the picture was allowed to depart from its source picture.'),
      ('images', 'created_at', 'When the picture was stored.'),
      ('images', 'saved_at',
        'When the owner saved the picture; saved pictures are kept regardless of image_retention_days.'),
      ('images', 'seed', 'Seed actually used, if the provider reports it.'),
      ('images', 'model_version', 'Model version actually used, if the provider reports it.'),
      ('images', 'is_black',
        'True if the picture is entirely black, as safety filters return instead of a blocked picture.'),
      ('images', 'thumbnail_path',
        'Path of the small picture in the bucket generated-images: a WebP of at most 512 pixels a side; empty without '
        'one.'),

      ('tags', null, 'Tags for pictures: unique, in lower case.'),
      ('tags', 'id', 'Id of the tag.'),
      ('tags', 'name', 'The tag itself: unique, in lower case.'),
      ('tags', 'color', 'Colour of the tag in the app.'),
      ('tags', 'created_at', 'When the tag was first used.'),
      ('tags', 'created_by', 'User who created the tag; empty for tags of admins and older tags.'),

      ('image_tags', null, 'Tags of pictures: one row per picture and tag.'),
      ('image_tags', 'id', 'Id of the row.'),
      ('image_tags', 'image_id', 'The tagged picture.'),
      ('image_tags', 'tag_id', 'The tag.'),
      ('image_tags', 'added_at', 'When the picture was tagged.'),

      ('batch_generations', null,
        'One row per batch: 2 to 10 prompts with shared settings. Counts, status and completed_at are computed from '
        'the items, so edits to them do not last.'),
      ('batch_generations', 'id', 'Id of the batch; its items are the rows of image_generations with this batch_id.'),
      ('batch_generations', 'user_id', 'Owner of the batch.'),
      ('batch_generations', 'name', 'Name given by the user; may be edited.'),
      ('batch_generations', 'total_count', 'Number of items at submission.'),
      ('batch_generations', 'completed_count', 'Number of completed items.'),
      ('batch_generations', 'failed_count', 'Number of failed items.'),
      ('batch_generations', 'status',
        'pending until an item starts, processing until all items have ended, then completed (all succeeded), '
        'partial (some) or failed (none).'),
      ('batch_generations', 'created_at', 'When the batch was submitted.'),
      ('batch_generations', 'completed_at', 'When the last item ended.'),
      ('batch_generations', 'model_id', 'models.id of the model that all items of the batch use.'),
      ('batch_generations', 'model_version', 'Model version at the provider; empty means the official version.'),
      ('batch_generations', 'width', 'Width in pixels of all pictures.'),
      ('batch_generations', 'height', 'Height in pixels of all pictures.'),
      ('batch_generations', 'steps', 'Number of inference steps of all items.'),
      ('batch_generations', 'guidance_scale', 'How closely the pictures follow their prompts.'),

      ('batch_progress', null, 'One row per batch with its counts and its items as JSON, for progress displays.'),
      ('batch_progress', 'id', 'Id of the batch.'),
      ('batch_progress', 'user_id', 'Owner of the batch.'),
      ('batch_progress', 'total_count', 'Number of items at submission.'),
      ('batch_progress', 'completed_count', 'Number of completed items.'),
      ('batch_progress', 'failed_count', 'Number of failed items.'),
      ('batch_progress', 'status', 'pending, processing, completed, partial or failed.'),
      ('batch_progress', 'processing_count', 'Number of running items.'),
      ('batch_progress', 'items',
        'Items in order: {id, index, prompt, status, progress}; progress is 0, 50, 100, or -1 for failed.'),

      ('user_rate_limits', null,
        'Limits and usage of each user. create_batch and retries count usage; edit limits here. Users read their own '
        'row.'),
      ('user_rate_limits', 'user_id', 'The user. Without a row here, the defaults in batchgen.settings apply.'),
      ('user_rate_limits', 'daily_generations_count',
        'Items submitted in the current day; 0 once daily_reset_at has passed.'),
      ('user_rate_limits', 'daily_generations_limit',
        'Maximum items per day; empty means default_daily_limit in batchgen.settings.'),
      ('user_rate_limits', 'daily_reset_at',
        'End of the current day, which began with the user''s first item. Clear it to start a new day.'),
      ('user_rate_limits', 'hourly_generations_count',
        'Items submitted in the current hour; 0 once hourly_reset_at has passed.'),
      ('user_rate_limits', 'hourly_generations_limit',
        'Maximum items per hour; empty means default_hourly_limit in batchgen.settings.'),
      ('user_rate_limits', 'hourly_reset_at',
        'End of the current hour, which began with the user''s first item. Clear it to start a new hour.'),
      ('user_rate_limits', 'last_generation_at', 'When the user last submitted items.'),
      ('user_rate_limits', 'max_batch_size',
        'Maximum prompts per batch for this user, if lower than max_batch_size in batchgen.settings.'),
      ('user_rate_limits', 'max_concurrent_generations',
        'Limit for the app''s single generations, reported by get_user_limits. Batches obey max_parallel_per_user in '
        'batchgen.settings instead.'),
      ('user_rate_limits', 'total_generations_all_time', 'Number of items that the user has ever submitted.'),
      ('user_rate_limits', 'updated_at', 'When the counts last changed.'),

      ('prompt_templates', null, 'Prompt templates: each user''s own, and public ones for everybody.'),
      ('prompt_templates', 'id', 'Id of the template.'),
      ('prompt_templates', 'name', 'Name shown in the app.'),
      ('prompt_templates', 'prompt', 'The prompt.'),
      ('prompt_templates', 'user_id', 'Author; empty for the project''s own templates.'),
      ('prompt_templates', 'category', 'Category in the app.'),
      ('prompt_templates', 'negative_prompt', 'The negative prompt.'),
      ('prompt_templates', 'is_public', 'True if every signed-in user can read it.'),
      ('prompt_templates', 'use_count', 'Number of uses, counted by the app.'),
      ('prompt_templates', 'created_at', 'When the template was created.')
  loop
    v_relation := format('public.%I', v_relation);
    select case c.relkind when 'v' then 'view' else 'table' end into v_kind
    from pg_catalog.pg_class c where c.oid = to_regclass(v_relation);
    if v_kind is null then
      continue;
    end if;
    if v_column is null then
      if obj_description(to_regclass(v_relation), 'pg_class') is null then
        execute format('comment on %s %s is %L', v_kind, v_relation, v_comment);
      end if;
      continue;
    end if;
    select a.attnum into v_number from pg_catalog.pg_attribute a
    where a.attrelid = to_regclass(v_relation) and a.attname = v_column and not a.attisdropped;
    if v_number is not null and col_description(to_regclass(v_relation), v_number) is null then
      execute format('comment on column %s.%I is %L', v_relation, v_column, v_comment);
    end if;
  end loop;
end
$$;

-- PostgREST caches the schema: have it reload.
notify pgrst, 'reload schema';
