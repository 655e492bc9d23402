-- One item of a create_batch request. Not a table: functions pass such rows to each other.
create type batchgen.requested_item as (
  batch_index integer, prompt text, negative_prompt text, seed bigint, tags text[]
);

-- A create_batch request that was read and checked: the batch, without an id, its items, and the seed of a sample.
create type batchgen.requested_batch as (
  batch public.batch_generations, items batchgen.requested_item[], sample_seed bigint
);
