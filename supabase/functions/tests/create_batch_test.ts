import assert from "node:assert/strict";
import { createBatch, MAX_BYTES } from "../_shared/create_batch.ts";
import { apiError, projectApi, quietly, request } from "./project_api.ts";

const BODY = '{"prompts":[{"text":"a","seed":9007199254740993},{"text":"b"}]}';
const ANSWER = { batch: { id: "1", name: null, total_count: 2, generations: [] } };

async function code(response: Response): Promise<string> {
  return (await response.json()).error.code;
}

Deno.test("the body reaches create_batch as it was sent, with the caller's token and the project's key", async () => {
  await using api = projectApi(() => Response.json(ANSWER));

  const response = await createBatch(request(BODY));

  assert.deepEqual([response.status, await response.json()], [200, ANSWER]);
  const [asked] = api.asked;
  assert.deepEqual([asked.method, asked.path], ["POST", "/rest/v1/rpc/create_batch"]);
  assert.equal(asked.body, `{"p_request":${BODY}}`);
  assert.equal(asked.headers.get("authorization"), "Bearer a-token");
  assert.equal(asked.headers.get("apikey"), "the-key");
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
});

for (
  const [keys, expected] of [
    ['{"web":"first","default":"named"}', "named"],
    ['{"web":"first","ios":"second"}', "first"],
    ["{}", "the-key"],
    ["", "the-key"],
  ]
) {
  Deno.test(`of the keys ${keys || "(none)"} and an older one it sends ${expected}`, async () => {
    await using api = projectApi(() => Response.json(ANSWER));
    Deno.env.set("SUPABASE_PUBLISHABLE_KEYS", keys);

    await createBatch(request(BODY));

    assert.equal(api.asked[0].headers.get("apikey"), expected);
  });
}

Deno.test("a preflight is allowed whatever headers a client of today or tomorrow sends", async () => {
  const asked = { "Access-Control-Request-Headers": "authorization,apikey,x-client-info,traceparent" };

  const response = await createBatch(request(null, asked, "OPTIONS"));

  assert.equal(response.status, 204);
  assert.equal(response.headers.get("access-control-allow-headers"), asked["Access-Control-Request-Headers"]);
  assert.match(response.headers.get("access-control-allow-methods") ?? "", /POST/);
  assert.equal(response.headers.get("access-control-allow-origin"), "*");
});

for (const method of ["GET", "PUT", "PATCH", "DELETE", "HEAD"]) {
  Deno.test(`${method} is refused`, async () => {
    const response = await createBatch(request(null, {}, method));

    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), "POST, OPTIONS");
    assert.equal(await code(response), "method_not_allowed");
  });
}

for (const header of ["", "Bearer", "Bearer ", "Basic YTpi", "Bearer two words"]) {
  Deno.test(`Authorization "${header}" is nobody, and nothing is asked`, async () => {
    await using api = projectApi(() => Response.json(ANSWER));

    const response = await createBatch(request(BODY, { "Authorization": header }));

    assert.equal(response.status, 401);
    assert.equal(await code(response), "not_signed_in");
    assert.deepEqual(api.asked, []);
  });
}

const nested = (levels: number) => `{"x":${"[".repeat(levels - 1)}${"]".repeat(levels - 1)}}`;

for (
  const [what, body, status, expected] of [
    ["nothing", null, 400, "invalid_json"],
    ["no JSON", "{", 400, "invalid_json"],
    ["JSON and more", '{} , "p_more": 1', 400, "invalid_json"],
    ["NaN", '{"prompts": NaN}', 400, "invalid_json"],
    ["no UTF-8", new Uint8Array([0x7b, 0xff, 0x7d]), 400, "invalid_json"],
    ["a list", "[]", 422, "wrong_type"],
    ["a text", '"{}"', 422, "wrong_type"],
    ["null", "null", 422, "wrong_type"],
    ["NUL", '{"batch_name": "a\\u0000b"}', 422, "invalid_text"],
    ["NUL in a name", '{"\\u0000": 1}', 422, "invalid_text"],
    ["half a character", '{"prompts": [{"text": "\\ud83d"}]}', 422, "invalid_text"],
    ["33 levels", nested(33), 422, "too_deep"],
    ["400,000 levels", nested(400_000), 422, "too_deep"],
  ] as [string, BodyInit | null, number, string][]
) {
  Deno.test(`a body of ${what} is refused, and nothing is asked`, async () => {
    await using api = projectApi(() => Response.json(ANSWER));

    const response = await createBatch(request(body));

    assert.equal(response.status, status);
    const { error } = await response.json();
    assert.equal(error.code, expected);
    assert.deepEqual(Object.keys(error).sort(), ["code", "field", "index", "limit", "message", "remedy"]);
    assert.deepEqual(api.asked, []);
  });
}

Deno.test("32 levels, an emoji, a byte order mark and escaped backslashes before u0000 go through", async () => {
  await using api = projectApi(() => Response.json(ANSWER));

  for (const body of [nested(32), '{"batch_name":"\\ud83d\\ude00"}', '\ufeff{"a":1}', '{"a":"\\\\u0000"}']) {
    assert.equal((await createBatch(request(body))).status, 200);
  }

  assert.equal(api.asked.length, 4);
});

for (const type of ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/jsonp", ""]) {
  Deno.test(`a body of type "${type}" is refused`, async () => {
    assert.equal((await createBatch(request(BODY, { "Content-Type": type }))).status, 415);
  });
}

Deno.test("a compressed body is refused", async () => {
  assert.equal((await createBatch(request(BODY, { "Content-Encoding": "gzip" }))).status, 415);
});

for (const type of ["application/json; charset=utf-8", "text/plain;charset=UTF-8", "application/vnd.api+json"]) {
  Deno.test(`a body of type "${type}" is read`, async () => {
    await using _api = projectApi(() => Response.json(ANSWER));

    assert.equal((await createBatch(request(BODY, { "Content-Type": type }))).status, 200);
  });
}

Deno.test("a body that says it is too long is not read at all", async () => {
  let read = 0;
  const body = new ReadableStream({ pull: () => void read++ }, { highWaterMark: 0 });

  const response = await createBatch(request(body, { "Content-Length": String(MAX_BYTES + 1) }));

  assert.deepEqual([response.status, read], [413, 0]);
});

for (const length of ["", "5"]) {
  Deno.test(`a body without end is read no further than the limit, whatever its length is said to be (${length})`, async () => {
    let read = 0;
    let given_up = false;
    const body = new ReadableStream({
      pull(controller) {
        read++;
        controller.enqueue(new Uint8Array(64 * 1024).fill(0x20));
      },
      cancel: () => void (given_up = true),
    });

    const response = await createBatch(request(body, length ? { "Content-Length": length } : {}));

    assert.equal(response.status, 413);
    const { error } = await response.json();
    assert.deepEqual([error.code, error.limit], ["request_too_large", MAX_BYTES]);
    assert.ok(given_up);
    assert.ok(read <= MAX_BYTES / (64 * 1024) + 2, `read ${read} pieces`);
  });
}

Deno.test("the largest request that create_batch allows goes through, even with every character escaped", async () => {
  await using api = projectApi(() => Response.json(ANSWER));
  const text = "\\ud83d\\ude00".repeat(4000);
  const prompts = Array.from({ length: 10 }, () => `{"text":"${text}","negative_prompt":"${text}"}`);

  const response = await createBatch(request(`{"prompts":[${prompts.join(",")}]}`));

  assert.equal(response.status, 200);
  assert.ok(api.asked[0].body.length > 960_000);
});

const DETAIL = {
  code: "too_long",
  message: "prompts[3].text is too long",
  index: 3,
  field: "prompts[3].text",
  limit: 4000,
  remedy: "Shorten it.",
};

for (const status of [401, 402, 404, 409, 422]) {
  Deno.test(`what create_batch refuses with PT${status} is told whole`, async () => {
    await using _api = projectApi(() => apiError(status, `PT${status}`, JSON.stringify(DETAIL)));

    const response = await createBatch(request(BODY));

    assert.deepEqual([response.status, await response.json()], [status, { error: DETAIL }]);
  });
}

for (
  const [when, resets_at, least, most] of [
    ["in 90 seconds", new Date(Date.now() + 90_000).toISOString(), 60, 90],
    ["90 seconds ago", new Date(Date.now() - 90_000).toISOString(), 1, 1],
    ["in a thousand years", "2999-01-01T00:00:00+00:00", 86_400, 86_400],
    ["at no time", null, 30, 30],
    ["some day", "soon", 30, 30],
  ] as [string, string | null, number, number][]
) {
  Deno.test(`a limit that resets ${when} says when to come again`, async () => {
    const detail = JSON.stringify({ ...DETAIL, code: "hourly_limit", resets_at });
    await using _api = projectApi(() => apiError(429, "PT429", detail));

    const response = await createBatch(request(BODY));

    assert.equal(response.status, 429);
    const seconds = Number(response.headers.get("retry-after"));
    assert.ok(least <= seconds && seconds <= most, `${seconds}`);
    assert.equal(response.headers.get("access-control-expose-headers"), "Retry-After");
    const { error } = await response.json();
    assert.deepEqual([error.code, error.resets_at], ["hourly_limit", resets_at]);
  });
}

for (const details of [null, "no JSON", "[]", "null", '"text"']) {
  Deno.test(`a refusal with the detail ${details} is one all the same`, async () => {
    await using _api = projectApi(() => apiError(422, "PT422", details));

    const response = await createBatch(request(BODY));

    assert.equal(response.status, 422);
    assert.equal(await code(response), "refused");
  });
}

for (
  const [status, upstream, expected, told] of [
    [401, "PGRST301", 401, "invalid_token"],
    [401, "PGRST302", 401, "invalid_token"],
    [401, "PGRST303", 401, "invalid_token"],
    [401, "42501", 401, "not_signed_in"],
    [403, "42501", 401, "not_signed_in"],
    [401, "", 401, "not_signed_in"],
    [400, "22P05", 422, "invalid_value"],
    [400, "22003", 422, "invalid_value"],
    [413, "", 422, "invalid_value"],
    [404, "PGRST202", 502, "backend_failed"],
    [400, "P0001", 502, "backend_failed"],
    [500, "XX000", 502, "backend_failed"],
    [500, "SUP", 502, "backend_failed"],
    [400, "PT500", 502, "backend_failed"],
    [500, "57014", 503, "backend_unavailable"],
    [409, "40001", 503, "backend_unavailable"],
    [503, "PGRST001", 503, "backend_unavailable"],
    [504, "PGRST003", 503, "backend_unavailable"],
    [429, "", 503, "backend_unavailable"],
  ] as [number, string, number, string][]
) {
  Deno.test(`an answer of ${status} ${upstream} becomes ${expected} ${told} and shows nothing of the inside`, async () => {
    await using _api = projectApi(() => apiError(status, upstream, "secret detail"));

    const [response] = await quietly(() => createBatch(request(BODY)));

    assert.equal(response.status, expected);
    const text = await response.text();
    assert.equal(JSON.parse(text).error.code, told);
    assert.doesNotMatch(text, /told by the database|secret|PGRST|http:/);
    assert.equal(response.headers.has("retry-after"), expected === 503);
  });
}

Deno.test("the log says which call failed how, and nothing of the request", async () => {
  await using _api = projectApi(() => apiError(500, "XX000", "a"));

  const [, said] = await quietly(() => createBatch(request('{"prompts":"private words"}')));

  assert.equal(said, "create_batch answered 500 XX000");
});

Deno.test("a gateway's own page is no answer", async () => {
  await using _api = projectApi(() => new Response("<h1>Bad gateway</h1>", { status: 502 }));

  const [response] = await quietly(() => createBatch(request(BODY)));

  assert.deepEqual([response.status, await code(response)], [502, "backend_failed"]);
});

Deno.test("a busy gateway's Retry-After is passed on", async () => {
  await using _api = projectApi(() => apiError(503, "", null, { "Retry-After": "17" }));

  const [response] = await quietly(() => createBatch(request(BODY)));

  assert.equal(response.headers.get("retry-after"), "17");
});

Deno.test("an answer that is cut off is no success", async () => {
  await using _api = projectApi(() => new Response('{"batch": {"id"', { status: 200 }));

  const response = await createBatch(request(BODY));

  assert.deepEqual([response.status, await code(response)], [503, "backend_unavailable"]);
});

Deno.test("a project that cannot be reached is 503", async () => {
  const api = projectApi(() => Response.json(ANSWER));
  await api[Symbol.asyncDispose]();

  const [response, said] = await quietly(() => createBatch(request(BODY)));

  assert.equal(response.status, 503);
  assert.equal(response.headers.get("retry-after"), "5");
  assert.match(said, /cannot be reached/);
});

Deno.test("a project that does not answer in time is 503", async () => {
  const never = Promise.withResolvers<Response>();
  await using _api = projectApi(() => never.promise);
  const timeout = AbortSignal.timeout;
  AbortSignal.timeout = () => AbortSignal.abort(new DOMException("too late", "TimeoutError"));

  const [response] = await quietly(() => createBatch(request(BODY)));

  AbortSignal.timeout = timeout;
  never.resolve(new Response());
  assert.equal(response.status, 503);
});

Deno.test("a redirect does not get the token", async () => {
  await using elsewhere = projectApi(() => Response.json(ANSWER));
  await using _api = projectApi(() => Response.redirect(`${elsewhere.url}/steal`, 307));

  const [response] = await quietly(() => createBatch(request(BODY)));

  assert.equal(response.status, 503);
  assert.deepEqual(elsewhere.asked, []);
});

Deno.test("a function without its settings says so in its log alone", async () => {
  await using _api = projectApi(() => Response.json(ANSWER));
  Deno.env.delete("SUPABASE_ANON_KEY");

  const [response, said] = await quietly(() => createBatch(request(BODY)));

  assert.deepEqual([response.status, await code(response)], [500, "internal"]);
  assert.match(said, /must be set/);
});
