/** HTTP handling shared by all functions: CORS, one method, a bounded body, and errors as JSON. */

/** Reason for a refusal; `code` is stable. `index`, `field` and `limit` are null if they do not apply. */
export interface Problem {
  code: string;
  message: string;
  index?: number | null;
  field?: string | null;
  limit?: unknown;
  remedy?: string | null;
}

/** Throw this to end a request with a status and a problem. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
    readonly headers: Record<string, string> = {},
  ) {
    super(problem.message);
  }
}

const MAX_DEPTH = 32;
const ALLOWED_HEADERS = "authorization, apikey, content-type, x-client-info, x-region, x-retry-count";
// Callers authenticate with a header, never with a cookie, so any page may call.
const CORS = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers": "Retry-After",
};

/** A handler for POST and its preflight. `answer` returns the body of a 200 or throws a Refusal. */
export function post(answer: (request: Request) => Promise<unknown>): (request: Request) => Promise<Response> {
  return async (request) => {
    try {
      if (request.method === "OPTIONS") return preflight(request);
      if (request.method !== "POST") throw methodNotAllowed(request.method);
      return json(200, await answer(request));
    } catch (error) {
      return refused(error);
    }
  };
}

/** The caller's own `Authorization` header. The database checks the token. */
export function bearer(request: Request): string {
  const header = request.headers.get("authorization") ?? "";
  if (!/^Bearer\s+\S+$/i.test(header)) throw notSignedIn();
  return header;
}

export function notSignedIn(): Refusal {
  return unauthorized("not_signed_in", "You are not signed in.");
}

export function invalidToken(): Refusal {
  return unauthorized("invalid_token", "The access token is expired or not of this project.");
}

/** A JSON object from the body, as the text that was sent, so that numbers keep all digits. */
export async function jsonObject(request: Request, maxBytes: number): Promise<string> {
  refuseOtherContent(request.headers);
  const text = decode(await bounded(request, maxBytes));
  const value = parse(text);
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new Refusal(422, {
      code: "wrong_type",
      message: "The request is not an object.",
      field: "request",
      remedy: "Send {prompts, shared_settings, batch_name}.",
    });
  }
  refuseUnstorable(value);
  return text;
}

function preflight(request: Request): Response {
  // Newer clients send headers of their own. All requested headers are allowed, since none of them grants anything.
  const requested = request.headers.get("access-control-request-headers") ?? ALLOWED_HEADERS;
  const headers = {
    ...CORS,
    "Access-Control-Allow-Methods": "POST, OPTIONS",
    "Access-Control-Allow-Headers": requested,
    "Access-Control-Max-Age": "86400",
    "Vary": "Access-Control-Request-Headers",
  };
  return new Response(null, { status: 204, headers });
}

function json(status: number, body: unknown, headers: Record<string, string> = {}): Response {
  return Response.json(body, { status, headers: { ...CORS, "Cache-Control": "no-store", ...headers } });
}

function refused(error: unknown): Response {
  if (!(error instanceof Refusal)) {
    console.error(error);
    return json(500, { error: whole({ code: "internal", message: "Internal error; the request is not the cause." }) });
  }
  return json(error.status, { error: whole(error.problem) }, error.headers);
}

function whole(problem: Problem): Problem {
  return { index: null, field: null, limit: null, remedy: null, ...problem };
}

function unauthorized(code: string, message: string): Refusal {
  return new Refusal(401, { code, message, remedy: "Sign in, then try again." }, { "WWW-Authenticate": "Bearer" });
}

function methodNotAllowed(method: string): Refusal {
  const problem = { code: "method_not_allowed", message: `${method} is not allowed here.`, remedy: "Use POST." };
  return new Refusal(405, problem, { "Allow": "POST, OPTIONS" });
}

function refuseOtherContent(headers: Headers): void {
  // supabase-js sends a body that is already a string as text/plain.
  const type = headers.get("content-type") ?? "application/json";
  const encoding = headers.get("content-encoding") ?? "identity";
  if (/^\s*(application\/([\w.-]+\+)?json|text\/plain)\s*(;|$)/i.test(type) && encoding === "identity") return;
  const remedy = "Send Content-Type: application/json, without a Content-Encoding.";
  const message = "The body is not declared as JSON, or has a Content-Encoding.";
  throw new Refusal(415, { code: "unsupported_media_type", message, remedy });
}

async function bounded(request: Request, maxBytes: number): Promise<Uint8Array> {
  const declared = Number(request.headers.get("content-length") ?? 0);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body ?? []) {
    length += chunk.byteLength;
    if (length > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return joined(chunks, length);
}

function joined(chunks: Uint8Array[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.byteLength;
  }
  return all;
}

function tooLarge(maxBytes: number): Refusal {
  return new Refusal(413, {
    code: "request_too_large",
    message: `The request is longer than ${maxBytes} bytes.`,
    limit: maxBytes,
    remedy: "Send shorter prompts, or fewer of them.",
  });
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw invalidJson("The body is not UTF-8.");
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw invalidJson("The body is not JSON.");
  }
}

function invalidJson(message: string): Refusal {
  return new Refusal(400, { code: "invalid_json", message, remedy: "Send one JSON object in UTF-8." });
}

/** Refuse what Postgres cannot store in jsonb: excessive nesting, NUL, and lone surrogates. */
function refuseUnstorable(value: object): void {
  const open: [unknown, number][] = [[value, 1]];
  for (let next = open.pop(); next; next = open.pop()) {
    const [one, depth] = next;
    if (typeof one === "string") refuseUnstorableText(one);
    if (one === null || typeof one !== "object") continue;
    if (depth > MAX_DEPTH) throw tooDeep();
    for (const [key, inner] of Object.entries(one)) {
      refuseUnstorableText(key);
      open.push([inner, depth + 1]);
    }
  }
}

function refuseUnstorableText(text: string): void {
  if (!text.includes("\0") && text.isWellFormed()) return;
  throw new Refusal(422, {
    code: "invalid_text",
    message: "A text contains U+0000 or a lone surrogate.",
    remedy: "Send text that is valid Unicode, without U+0000.",
  });
}

function tooDeep(): Refusal {
  return new Refusal(422, {
    code: "too_deep",
    message: `The request is nested more than ${MAX_DEPTH} levels deep.`,
    limit: MAX_DEPTH,
    remedy: "Send {prompts, shared_settings, batch_name}.",
  });
}
