-- One item of a create_batch request. Not a table: create_batch_for passes such rows between functions.
create type batchgen.requested_item as (
  batch_index integer, prompt text, negative_prompt text, seed bigint, tags text[]
);
