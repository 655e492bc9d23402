/** Answers those who want the queue looked at. Workers heard of it already: they listen to the rows that changed. */
import { bearer, post } from "./http.ts";
import { requireUser } from "./project.ts";

export const processQueue = post(async (request) => {
  await requireUser(bearer(request));
  return {};
});
