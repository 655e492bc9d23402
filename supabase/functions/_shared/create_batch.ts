/** Submit a batch. Served as batch-generate-images and, for the app, as batch-generate. */
import { bearer, jsonObject, post } from "./http.ts";
import { rpc } from "./project.ts";

/** Room for any valid request: ten prompts and negative prompts of 4,000 characters, each escaped as \ud83d\ude00. */
export const MAX_BYTES = 1024 * 1024;

export const createBatch = post(async (request) => {
  const authorization = bearer(request);
  const body = await jsonObject(request, MAX_BYTES);
  return await rpc("create_batch", authorization, `{"p_request":${body}}`);
});
