import { createBatch } from "../_shared/create_batch.ts";

Deno.serve(createBatch);
