-- What a stranger would ask in the Table Editor: a comment on each table and column of the app's that has none yet. A
-- comment that is there already stays.
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
        'Image models that users can choose. One row is a model; is_active offers it, is_default is used where none is '
        'named.'),
      ('models', 'id', 'What image_generations.model_id and shared_settings.model_id of a request name.'),
      ('models', 'name', 'Short name, unique; copied to image_generations.model.'),
      ('models', 'display_name', 'Name that users see.'),
      ('models', 'replicate_id', 'The model''s id at its provider.'),
      ('models', 'version', 'Version at the provider; empty means the official one.'),
      ('models', 'description', 'What the model is good at, for users.'),
      ('models', 'cost_per_generation', 'What one picture costs, in the currency of the provider.'),
      ('models', 'estimated_time_seconds', 'How long a picture usually takes, in seconds.'),
      ('models', 'is_active', 'Whether requests may name the model. Items that wait run in any case.'),
      ('models', 'is_default', 'Used where a request names no model; of several the first by sort_order and name.'),
      ('models', 'sort_order', 'Place in lists, lowest first.'),
      ('models', 'default_width', 'Width in pixels where a request names none.'),
      ('models', 'default_height', 'Height in pixels where a request names none.'),
      ('models', 'default_steps', 'Steps where a request names none.'),
      ('models', 'default_guidance_scale', 'Guidance scale where a request names none.'),
      ('models', 'default_strength', 'Strength for pictures made from another one, where a request names none.'),
      ('models', 'min_width', 'Smallest width in pixels that a request may ask for; empty means 16.'),
      ('models', 'max_width', 'Largest width in pixels that a request may ask for; empty means 4096.'),
      ('models', 'min_height', 'Smallest height in pixels that a request may ask for; empty means 16.'),
      ('models', 'max_height', 'Largest height in pixels that a request may ask for; empty means 4096.'),
      ('models', 'max_steps', 'Most steps that a request may ask for; empty means 200.'),
      ('models', 'strength_min', 'Lowest strength for pictures made from another one.'),
      ('models', 'strength_max', 'Highest strength for pictures made from another one.'),
      ('models', 'supported_aspect_ratios', 'Aspect ratios that the app offers, as a JSON list.'),
      ('models', 'supports_negative_prompt', 'Whether the model takes a negative prompt.'),
      ('models', 'supports_seed', 'Whether the same seed gives the same picture.'),
      ('models', 'supports_img2img', 'Whether the model makes pictures from another one (older name).'),
      ('models', 'supports_image_to_image', 'Whether the model makes pictures from another one.'),
      ('models', 'created_at', 'When the model was added.'),
      ('models', 'updated_at', 'When the row was last changed.'),

      ('image_generations', null,
        'One row per requested picture. Rows with a batch_id are run by the batchgen worker, rows without one by the '
        'app itself.'),
      ('image_generations', 'id', 'The item; its picture lies at {user_id}/{id}.{format}.'),
      ('image_generations', 'user_id', 'Whose item it is; sees it and pays for it with their limits.'),
      ('image_generations', 'prompt', 'What the picture should show.'),
      ('image_generations', 'negative_prompt', 'What the picture should not show.'),
      ('image_generations', 'model', 'models.name at the time of the request.'),
      ('image_generations', 'model_id', 'The model that makes the picture.'),
      ('image_generations', 'style', 'The app''s name of a style.'),
      ('image_generations', 'width', 'Width in pixels.'),
      ('image_generations', 'height', 'Height in pixels.'),
      ('image_generations', 'steps', 'Steps of the model.'),
      ('image_generations', 'guidance_scale', 'How closely the picture follows the prompt.'),
      ('image_generations', 'seed',
        'What chance begins from; chosen and stored where a request has none. 0 is a seed.'),
      ('image_generations', 'status',
        'pending, processing, completed or failed. Set it to pending to run the item again, to failed to end it; the '
        'queue follows.'),
      ('image_generations', 'error_message', 'Why the item failed, as a sentence for its user.'),
      ('image_generations', 'source_image_url',
        'The picture that this one is made from, for single generations of the app.'),
      ('image_generations', 'generation_strength', 'How far the picture may go from the one that it is made from.'),
      ('image_generations', 'replicate_prediction_id',
        'The provider''s id of a single generation of the app; items of batches have theirs in batchgen.queue.'),
      ('image_generations', 'generation_time_seconds', 'How long the attempt that succeeded took, in seconds.'),
      ('image_generations', 'created_at', 'When the item was submitted; earlier ones run first.'),
      ('image_generations', 'completed_at', 'When the item ended, completed or failed.'),
      ('image_generations', 'batch_id',
        'The batch that this item belongs to; empty for single generations, which the batch worker never takes.'),
      ('image_generations', 'batch_index', 'Place of the item in its batch, from 0.'),
      ('image_generations', 'retry_count', 'How many attempts failed and were tried again.'),
      ('image_generations', 'priority', 'Higher runs first; 0 is normal.'),
      ('image_generations', 'error_code',
        'Why the item failed, as a word for programs (cancelled, timeout, crashed, …); empty unless it has failed.'),
      ('image_generations', 'started_at',
        'When the attempt that runs began, or else the last one; empty for an item that was never started.'),

      ('images', null, 'Finished pictures. The file itself lies in the bucket generated-images at storage_path.'),
      ('images', 'id', 'The picture.'),
      ('images', 'generation_id', 'The item that made it; empty once that is deleted.'),
      ('images', 'user_id', 'Whose picture it is.'),
      ('images', 'filename', 'Name of the file, for downloads.'),
      ('images', 'storage_path', 'Where the file lies in the bucket generated-images.'),
      ('images', 'prompt', 'The prompt that it was made from.'),
      ('images', 'public_url', 'Address of the file; whoever knows it sees the picture.'),
      ('images', 'negative_prompt', 'The negative prompt that it was made from.'),
      ('images', 'model', 'models.name of the model that made it.'),
      ('images', 'style', 'The app''s name of a style.'),
      ('images', 'width', 'Width in pixels.'),
      ('images', 'height', 'Height in pixels.'),
      ('images', 'format', 'File format: png, webp, jpeg or svg.'),
      ('images', 'file_size', 'Size of the file in bytes.'),
      ('images', 'blurhash', 'A few characters from which the app draws a blurred preview.'),
      ('images', 'is_public', 'Whether its owner shows it to others in the app.'),
      ('images', 'is_favorite', 'Whether its owner marked it as a favourite.'),
      ('images', 'rating', 'The owner''s rating.'),
      ('images', 'download_count', 'How often it was downloaded in the app.'),
      ('images', 'archived_at', 'When its owner put it away; empty for pictures in the gallery.'),
      ('images', 'source_image_id', 'The picture that this one was made from.'),
      ('images', 'generation_strength', 'How far it was allowed to go from the one that it was made from.'),
      ('images', 'created_at', 'When the picture was stored.'),
      ('images', 'saved_at',
        'When its owner saved the picture; saved ones are kept whatever image_retention_days says.'),
      ('images', 'seed', 'The seed really used, where the provider tells.'),
      ('images', 'model_version', 'The model''s version really used, where the provider tells.'),
      ('images', 'is_black', 'Whether the picture is all black: what safety filters leave in place of one.'),

      ('tags', null, 'Words that pictures are tagged with: lower case, each once.'),
      ('tags', 'id', 'The tag.'),
      ('tags', 'name', 'The word, in lower case, once.'),
      ('tags', 'color', 'Colour of the tag in the app.'),
      ('tags', 'created_at', 'When the tag was first used.'),
      ('tags', 'created_by', 'The user who made the tag; empty for those of admins, and from before.'),

      ('image_tags', null, 'Which picture carries which tag.'),
      ('image_tags', 'id', 'One tag on one picture.'),
      ('image_tags', 'image_id', 'The picture that carries the tag.'),
      ('image_tags', 'tag_id', 'The tag on it.'),
      ('image_tags', 'added_at', 'When the tag was put on the picture.'),

      ('batch_generations', null,
        'One row per batch: 2 to 10 prompts with shared settings. Counts, status and completed_at are computed from '
        'the items; edits to them have no lasting effect.'),
      ('batch_generations', 'id', 'The batch; its items are the rows of image_generations with this batch_id.'),
      ('batch_generations', 'user_id', 'Whose batch it is.'),
      ('batch_generations', 'name', 'What its user called it; may be edited.'),
      ('batch_generations', 'total_count', 'How many items it has, or had.'),
      ('batch_generations', 'completed_count', 'How many items are completed: counted from them.'),
      ('batch_generations', 'failed_count', 'How many items are failed: counted from them.'),
      ('batch_generations', 'status',
        'pending until an item starts, processing until all have ended, then completed (all), partial (some) or failed '
        '(none): from the items.'),
      ('batch_generations', 'created_at', 'When the batch was submitted.'),
      ('batch_generations', 'completed_at', 'When its last item ended.'),
      ('batch_generations', 'model_id', 'models.id of the model that all items of the batch use.'),
      ('batch_generations', 'model_version',
        'The model''s version at the provider; empty means the provider''s official one.'),
      ('batch_generations', 'width', 'Width in pixels, for all items.'),
      ('batch_generations', 'height', 'Height in pixels, for all items.'),
      ('batch_generations', 'steps', 'Steps of the model, for all items.'),
      ('batch_generations', 'guidance_scale', 'How closely the pictures follow their prompts.'),

      ('batch_progress', null, 'One row per batch with its counts and its items as JSON, for progress displays.'),
      ('batch_progress', 'id', 'The batch.'),
      ('batch_progress', 'user_id', 'Whose batch it is.'),
      ('batch_progress', 'total_count', 'How many items it has, or had.'),
      ('batch_progress', 'completed_count', 'How many items are completed.'),
      ('batch_progress', 'failed_count', 'How many items are failed.'),
      ('batch_progress', 'status', 'pending, processing, completed, partial or failed.'),
      ('batch_progress', 'processing_count', 'How many items run now.'),
      ('batch_progress', 'items',
        'The items in their order: {id, index, prompt, status, progress}; progress is 0, 50, 100, or -1 for failed.'),

      ('user_rate_limits', null,
        'What each user may put in and has used. Counted by create_batch and by retries; limits are edited here. Users '
        'read their own row.'),
      ('user_rate_limits', 'user_id', 'The user. One without a row has the defaults of batchgen.settings.'),
      ('user_rate_limits', 'daily_generations_count',
        'Items put in since the day began, if daily_reset_at is not over.'),
      ('user_rate_limits', 'daily_generations_limit',
        'Most items in a day; empty means default_daily_limit of batchgen.settings.'),
      ('user_rate_limits', 'daily_reset_at',
        'When the day ends that began with the user''s first item. Clear it to begin anew.'),
      ('user_rate_limits', 'hourly_generations_count',
        'Items put in since the hour began, if hourly_reset_at is not over.'),
      ('user_rate_limits', 'hourly_generations_limit',
        'Most items in an hour; empty means default_hourly_limit of batchgen.settings.'),
      ('user_rate_limits', 'hourly_reset_at',
        'When the hour ends that began with the user''s first item. Clear it to begin anew.'),
      ('user_rate_limits', 'last_generation_at', 'When the user last put items in.'),
      ('user_rate_limits', 'max_batch_size',
        'Most prompts of a batch of this user, where that is fewer than max_batch_size of batchgen.settings.'),
      ('user_rate_limits', 'max_concurrent_generations',
        'For the app''s single generations, and told by get_user_limits. How many items of batches run at once is '
        'max_parallel_per_user of batchgen.settings.'),
      ('user_rate_limits', 'total_generations_all_time', 'Items that the user ever put in.'),
      ('user_rate_limits', 'updated_at', 'When the counts last changed.'),

      ('prompt_templates', null, 'Prompts to start from: a user''s own, and public ones for everybody.'),
      ('prompt_templates', 'id', 'The template.'),
      ('prompt_templates', 'name', 'What it is called in the app.'),
      ('prompt_templates', 'prompt', 'The prompt.'),
      ('prompt_templates', 'user_id', 'Who wrote it; empty for the project''s own.'),
      ('prompt_templates', 'category', 'Group in the app.'),
      ('prompt_templates', 'negative_prompt', 'The negative prompt that goes with it.'),
      ('prompt_templates', 'is_public', 'Whether every signed-in user sees it.'),
      ('prompt_templates', 'use_count', 'How often it was used, as the app counts.'),
      ('prompt_templates', 'created_at', 'When it was written.')
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

-- PostgREST reads the schema once; tell it that there is more now.
notify pgrst, 'reload schema';
