/** Answer requests to process the queue. Nothing to do: workers listen to the changed rows themselves. */
import { bearer, post } from "./http.ts";
import { requireUser } from "./project.ts";

export const processQueue = post(async (request) => {
  await requireUser(bearer(request));
  return {};
});
