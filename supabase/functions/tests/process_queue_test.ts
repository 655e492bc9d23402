import assert from "node:assert/strict";
import { processQueue } from "../_shared/process_queue.ts";
import { projectApi, quietly, request } from "./project_api.ts";

Deno.test("somebody who is signed in gets an answer, without a body too", async () => {
  await using api = projectApi(() => Response.json({ id: "1", email: "private@example.test" }));

  const response = await processQueue(request(null));

  assert.deepEqual([response.status, await response.json()], [200, {}]);
  const [asked] = api.asked;
  assert.deepEqual([asked.method, asked.path], ["GET", "/auth/v1/user"]);
  assert.equal(asked.headers.get("authorization"), "Bearer a-token");
  assert.equal(asked.headers.get("apikey"), "the-key");
});

for (
  const [auth, status, code] of [
    [401, 401, "invalid_token"],
    [403, 401, "invalid_token"],
    [404, 401, "invalid_token"],
    [429, 503, "backend_unavailable"],
    [503, 503, "backend_unavailable"],
    [500, 502, "backend_failed"],
  ]
) {
  Deno.test(`where Auth answers ${auth}, it answers ${status}`, async () => {
    await using _api = projectApi(() => new Response("secret", { status: Number(auth) }));

    const [response] = await quietly(() => processQueue(request(null)));

    assert.equal(response.status, status);
    assert.equal((await response.json()).error.code, code);
  });
}

Deno.test("nobody gets no answer, and Auth is not asked", async () => {
  await using api = projectApi(() => Response.json({}));

  const response = await processQueue(request(null, { "Authorization": "" }));

  assert.equal(response.status, 401);
  assert.deepEqual(api.asked, []);
});

Deno.test("a browser may call it", async () => {
  assert.equal((await processQueue(request(null, {}, "OPTIONS"))).status, 204);
});
