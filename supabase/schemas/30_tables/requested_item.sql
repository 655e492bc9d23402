-- An item of a request to create_batch: what its prompt says. No table: create_batch_for hands such rows on.
create type batchgen.requested_item as (
  batch_index integer, prompt text, negative_prompt text, seed bigint, tags text[]
);
