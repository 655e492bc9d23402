import { processQueue } from "../_shared/process_queue.ts";

Deno.serve(processQueue);
