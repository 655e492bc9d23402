// Changes Lite's HTTP responses where clients would notice a difference from hosted Supabase.
import { createHmac, timingSafeEqual } from "node:crypto";

const STORAGE = "/storage/v1/object";
const EVERYTHING = 1_000_000;
const LARGEST_BODY = 16 * 1024 * 1024; // of REST; much more than that cannot be parsed as jsonb

export async function answer(app, request, jwtSecret) {
  const { pathname } = new URL(request.url);
  if (!/^\/(rest|auth|storage)\/v1(\/|$)/.test(pathname)) return new Response(null, { status: 404 });
  if (pathname.startsWith("/rest/v1")) return refuseBadToken(request, jwtSecret) ?? rest(app, request);
  if (isMultipart(request)) return app.fetch(await withoutForm(request));
  if (request.method !== "POST") return app.fetch(request);
  if (pathname.startsWith(`${STORAGE}/upload/sign/`)) return change(await app.fetch(request), signedUpload);
  if (new RegExp(`^${STORAGE}/sign/[^/]+/?$`).test(pathname)) return signMany(app, request);
  if (pathname.startsWith(`${STORAGE}/sign/`)) return change(await app.fetch(request), signed);
  if (pathname.startsWith(`${STORAGE}/list/`)) return listOneLevel(app, request);
  return app.fetch(request);
}

// Lite treats a request with an expired or foreign token like one without a token; PostgREST refuses it.
function refuseBadToken(request, secret) {
  const token = /^Bearer\s+(.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (!token || token.startsWith("sb_") || request.method === "OPTIONS") return null;
  const [header, payload, signature] = token.split(".");
  const right = createHmac("sha256", secret).update(`${header}.${payload}`).digest();
  const given = Buffer.from(signature ?? "", "base64url");
  if (given.length !== right.length || !timingSafeEqual(given, right))
    return refusal("PGRST301", "No suitable key or wrong key type");
  const { exp } = JSON.parse(Buffer.from(payload, "base64url"));
  return exp && exp < Date.now() / 1000 ? refusal("PGRST303", "JWT expired") : null;
}

function refusal(code, message) {
  const headers = { "WWW-Authenticate": `Bearer error="invalid_token", error_description="${message}"` };
  return Response.json({ code, details: null, hint: null, message }, { status: 401, headers });
}

async function rest(app, request) {
  if (!request.body) return notTooDeep(await app.fetch(request));
  const body = await bodyOf(request);
  if (!body) return tooLarge();
  const headers = new Headers(request.headers);
  headers.delete("content-length");
  const whole = { method: request.method, headers, body: withoutInfinity(body) };
  return notTooDeep(await app.fetch(new Request(request.url, whole)));
}

// The whole body, or null if it is too large; then the rest is read but not kept.
async function bodyOf(request) {
  const pieces = [];
  let bytes = 0;
  for await (const piece of request.body) {
    bytes += piece.length;
    if (bytes <= LARGEST_BODY) pieces.push(piece);
  }
  return bytes <= LARGEST_BODY ? Buffer.concat(pieces) : null;
}

function tooLarge() {
  const message = `The body is larger than ${LARGEST_BODY} bytes`;
  return Response.json({ code: "too_large", details: null, hint: "Send less at once", message }, { status: 413 });
}

// Lite reads numbers as JavaScript does: above 1.8e308 they become Infinity and then null, as if they were not sent.
// Replace them by a huge finite number, so that the function that reads it refuses it by name.
function withoutInfinity(body) {
  const text = body.toString("utf8");
  if (!/\d{200}|\d[eE]\+?0*\d{3}/.test(text)) return body;
  const parts = [];
  let done = 0;
  const token = /"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  for (let found; (found = token.exec(text)); ) {
    if (found[0] === '"') token.lastIndex = endOfString(text, token.lastIndex);
    else if (!Number.isFinite(Number(found[0]))) {
      parts.push(text.slice(done, found.index), found[0].startsWith("-") ? "-1e308" : "1e308");
      done = token.lastIndex;
    }
  }
  return parts.length ? parts.join("") + text.slice(done) : body;
}

function endOfString(text, start) {
  for (let end = text.indexOf('"', start); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === "\\" && end - 1 - backslashes >= start) backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return text.length;
}

// A body nested deeper than Node's stack is the sender's error, but Lite reports it as its own.
async function notTooDeep(response) {
  if (response.status !== 500) return response;
  const body = await response.text();
  if (!body.includes("Maximum call stack size exceeded")) return new Response(body, response);
  const refused = { code: "54001", details: null, hint: null, message: "The JSON is nested too deeply" };
  return Response.json(refused, { status: 413 });
}

function isMultipart(request) {
  return /^(POST|PUT)$/.test(request.method) && request.headers.get("content-type")?.startsWith("multipart/form-data");
}

// Clients wrap a file in a form, supabase-js in a field without a name. Lite reads only forms of POST requests and only
// the field "file", but accepts a bare body everywhere.
async function withoutForm(request) {
  const form = await request.formData();
  const file = [...form.values()].find((value) => typeof value !== "string");
  if (!file) return new Request(request.url, { method: request.method, headers: request.headers, body: "" });
  const headers = new Headers(request.headers);
  headers.set("content-type", file.type || "application/octet-stream");
  headers.set("content-length", String(file.size));
  if (form.get("cacheControl")) headers.set("cache-control", `max-age=${form.get("cacheControl")}`);
  if (form.get("metadata")) headers.set("x-metadata", Buffer.from(form.get("metadata")).toString("base64"));
  return new Request(request.url, { method: request.method, headers, body: file.stream(), duplex: "half" });
}

function signed({ signedUrl, ...rest }) {
  return { ...rest, signedURL: withoutPrefix(signedUrl) };
}

function signedUpload({ signedUrl, signedURL, url, ...rest }) {
  return { ...rest, url: withoutPrefix(url ?? signedUrl ?? signedURL) };
}

function withoutPrefix(url) {
  return url ? url.replace(/^\/storage\/v1/, "") : null;
}

// Lite's route for several paths is shadowed by the one for a single path.
async function signMany(app, request) {
  const { expiresIn, paths = [] } = await request.json();
  const sign = async (path) => {
    const url = `${request.url.replace(/\/$/, "")}/${path.split("/").map(encodeURIComponent).join("/")}`;
    const response = await app.fetch(again(request, url, { expiresIn }));
    const body = await response.json();
    if (response.ok) return { path, error: null, ...signed(body) };
    return { path, error: "Either the object does not exist or you do not have access to it", signedURL: null };
  };
  return Response.json(await Promise.all(paths.map(sign)), { headers: { "Access-Control-Allow-Origin": "*" } });
}

// Lite lists all objects below a prefix with full names; hosted Supabase lists one level with relative names.
async function listOneLevel(app, request) {
  const wanted = await request.json();
  const { prefix = "", limit = 100, offset = 0, search = "", sortBy } = wanted;
  const folder = prefix && !prefix.endsWith("/") ? `${prefix}/` : prefix;
  const response = await app.fetch(again(request, request.url, { prefix: folder, limit: EVERYTHING, sortBy }));
  return change(response, (objects) => {
    const level = oneLevel(objects, folder).filter(({ name }) => name.toLowerCase().includes(search.toLowerCase()));
    return level.slice(offset, offset + limit);
  });
}

function oneLevel(objects, folder) {
  const entries = new Map();
  for (const object of objects.filter(({ name }) => name.startsWith(folder))) {
    const [name, ...deeper] = object.name.slice(folder.length).split("/");
    if (deeper.length === 0) entries.set(`${name}/file`, listed(object, name));
    else entries.set(name, { name, id: null, updated_at: null, created_at: null, last_accessed_at: null, metadata: null });
  }
  return [...entries.values()];
}

function listed({ id, updated_at, created_at, last_accessed_at, metadata }, name) {
  return { name, id, updated_at, created_at, last_accessed_at, metadata };
}

function again(request, url, body) {
  const headers = new Headers(request.headers);
  headers.delete("content-length");
  headers.set("content-type", "application/json");
  return new Request(url, { method: "POST", headers, body: JSON.stringify(body) });
}

async function change(response, by) {
  if (!response.ok) return response;
  const headers = new Headers(response.headers);
  headers.delete("content-length");
  return new Response(JSON.stringify(by(await response.json())), { status: response.status, headers });
}
