// Lite's connection to Postgres, changed to behave as on hosted Supabase.
import { randomUUID } from "node:crypto";
import { createPostgresConnection } from "@supabase/lite/postgres";
import { sql } from "kysely";

const ENCODED = `${randomUUID()}:`; // marks a string that is already JSON

export function connect({ databaseUrl, poolSize }) {
  const connection = createPostgresConnection({
    url: databaseUrl,
    postgresOptions: {
      max: poolSize,
      onnotice: () => {},
      connection: { application_name: "supabase-lite", "storage.allow_delete_query": "true" },
      types: {
        json: { to: 114, from: [114], serialize: toJson, parse: JSON.parse },
        jsonb: { to: 3802, from: [3802], serialize: toJson, parse: JSON.parse },
        timestamptz: { to: 1184, from: [1184], serialize: (value) => value, parse: isoTime },
        timestamp: { to: 1114, from: [1114], serialize: (value) => value, parse: isoTime },
      },
    },
  });
  keepGrantsAsMigrated(connection);
  encodeJsonArgumentsOnce(connection);
  setContextInOneRoundTrip(connection);
  return connection;
}

// At each start, Lite grants ALL on all tables with row level security to anon, authenticated and service_role. Hosted
// Supabase does not, so mark the grants as done.
function keepGrantsAsMigrated(connection) {
  if (!("rlsState" in connection)) throw new Error("this Supabase Lite is not the version that devstack was written for");
  connection.rlsState = "active";
}

// Lite encodes an object for a json argument of a function, and the driver encodes the text again, so that the function
// would get a JSON string. Encode such an argument here and mark it.
function encodeJsonArgumentsOnce(connection) {
  const original = connection.onPostgrestAST.bind(connection);
  connection.onPostgrestAST = async (ast, vars) => {
    const call = await original(ast, vars);
    if (!call.function || !call.args || Array.isArray(call.args)) return call;
    const json = await jsonArguments(connection, call);
    const encode = ([name, value]) => [name, json.has(name) && value !== null ? ENCODED + JSON.stringify(value) : value];
    return { ...call, args: Object.fromEntries(Object.entries(call.args).map(encode)) };
  };
}

async function jsonArguments(connection, { schema = "public", function: name, httpMethod, inputType }) {
  const found = new Set();
  if (httpMethod === "GET" || (inputType && inputType !== "json")) return found;
  const { functions = [] } = await connection.introspect({ useCache: true });
  for (const { arg_names, arg_types } of functions.filter((one) => one.schema === schema && one.name === name))
    arg_names.forEach((argument, index) => /^jsonb?$/.test(arg_types[index]) && found.add(argument));
  return found;
}

function toJson(value) {
  return typeof value === "string" && value.startsWith(ENCODED) ? value.slice(ENCODED.length) : JSON.stringify(value);
}

// Set role, claims and request as PostgREST does, in one statement each instead of Lite's five.
function setContextInOneRoundTrip(connection) {
  connection.applyJwtSessionContext = async (transaction, vars) => {
    const { role: claimed, uid, jwt } = vars.auth ?? {};
    const role = claimed || "anon";
    const operation = String(vars.storage?.operation ?? "");
    await setLocally(transaction, {
      role,
      "request.jwt.claim.sub": String(uid ?? ""),
      "request.jwt.claim.role": role,
      "request.jwt.claims": JSON.stringify(jwt ?? { role }),
      "storage.operation": operation,
      "storage.allow_delete_query": operation ? "true" : "false",
    });
  };
  connection.applyRpcRequestGucs = (transaction, request) =>
    setLocally(transaction, {
      "response.status": "",
      "response.headers": "",
      "request.method": request.method,
      "request.path": request.path,
      "request.headers": JSON.stringify(request.requestHeaders ?? {}),
    });
}

function setLocally(transaction, settings) {
  const calls = Object.entries(settings).map(([name, value]) => sql`set_config(${name}, ${value}, true)`);
  return sql`select ${sql.join(calls)}`.execute(transaction);
}

// Postgres writes "2026-11-23 10:17:57.89+00"; PostgREST and its clients expect "2026-11-23T10:17:57.89+00:00".
function isoTime(text) {
  return text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}
