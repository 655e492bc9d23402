/** The project's API, called with the caller's own token, so a function may do no more than its caller. */
import { invalidToken, notSignedIn, Problem, Refusal } from "./http.ts";

const TIMEOUT_MS = 20_000;
const RETRY_AFTER_SECONDS = 5;
const LIMIT_RETRY_AFTER_SECONDS = 30;
const LONGEST_RETRY_AFTER_SECONDS = 86_400;

/** An error from PostgREST. `code`: a SQLSTATE or its own code. `details`: JSON if the error is batchgen's. */
interface ApiError {
  code?: unknown;
  message?: unknown;
  details?: unknown;
}

/** Call a SQL function with `body` as its JSON arguments and return its result. */
export async function rpc(name: string, authorization: string, body: string): Promise<unknown> {
  const response = await reach(`/rest/v1/rpc/${name}`, authorization, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
  });
  const result = await content(response);
  if (response.ok) return result;
  throw refusal(name, response, isRecord(result) ? result : {});
}

/** Refuse a caller who is not signed in. Asks Auth, which also knows ended sessions. */
export async function requireUser(authorization: string): Promise<void> {
  const response = await reach("/auth/v1/user", authorization, { method: "GET" });
  await response.body?.cancel();
  if (response.ok) return;
  throw response.status >= 500 || response.status === 429 ? upstreamFailed("auth", response, "") : invalidToken();
}

async function reach(path: string, authorization: string, init: RequestInit): Promise<Response> {
  const { url, key } = project();
  try {
    return await fetch(url + path, {
      ...init,
      headers: { ...init.headers, "apikey": key, "Authorization": authorization },
      signal: AbortSignal.timeout(TIMEOUT_MS),
      redirect: "error",
    });
  } catch (error) {
    console.error(`${path} cannot be reached: ${error instanceof Error ? error.name : error}`);
    throw unavailable();
  }
}

async function content(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    if (response.ok) throw unavailable(); // truncated
    return null;
  }
}

/** Hosted projects have named publishable keys as JSON; older projects and the dev stack have one key. */
function project(): { url: string; key: string } {
  const url = Deno.env.get("SUPABASE_URL");
  const key = publishableKey(Deno.env.get("SUPABASE_PUBLISHABLE_KEYS")) ?? Deno.env.get("SUPABASE_ANON_KEY");
  if (!url || !key) throw new Error("SUPABASE_URL and SUPABASE_PUBLISHABLE_KEYS or SUPABASE_ANON_KEY must be set");
  return { url, key };
}

function publishableKey(named: string | undefined): string | undefined {
  if (!named) return undefined;
  const keys: Record<string, string> = JSON.parse(named);
  return keys.default ?? Object.values(keys)[0];
}

function refusal(name: string, response: Response, error: ApiError): Refusal {
  const code = typeof error.code === "string" ? error.code : "";
  const ours = /^PT(4\d\d)$/.exec(code);
  if (ours) return ourRefusal(Number(ours[1]), error);
  if (/^PGRST30[123]$/.test(code)) return invalidToken();
  if (code === "42501" || response.status === 401 || response.status === 403) return notSignedIn();
  if (code.startsWith("22") || response.status === 413) return unreadable();
  return upstreamFailed(name, response, code);
}

/** A refusal by SQL, which has the reason as JSON in its detail. */
function ourRefusal(status: number, { message, details }: ApiError): Refusal {
  const reason = parsed(details);
  const problem = { code: "refused", message: String(message ?? "The request was refused."), ...reason } as Problem;
  return new Refusal(status, problem, status === 429 ? { "Retry-After": String(retryAfter(reason.resets_at)) } : {});
}

function parsed(details: unknown): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(String(details));
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}

/** Whole seconds until a limit resets; a short default for limits that do not reset by the clock. */
function retryAfter(resetsAt: unknown): number {
  const seconds = Math.ceil((Date.parse(String(resetsAt)) - Date.now()) / 1000);
  if (Number.isNaN(seconds)) return LIMIT_RETRY_AFTER_SECONDS;
  return Math.min(Math.max(seconds, 1), LONGEST_RETRY_AFTER_SECONDS);
}

function unreadable(): Refusal {
  const remedy = "Check the request for extremely large numbers or texts.";
  return new Refusal(422, { code: "invalid_value", message: "The database cannot read a value.", remedy });
}

/** A passing outage (try again) or a broken backend (tell an admin). Only the log gets the details. */
function upstreamFailed(name: string, response: Response, code: string): Refusal {
  console.error(`${name} answered ${response.status} ${code}`);
  const passing = /^(40|53|57|55P03|PGRST00)/.test(code) || [429, 503, 504].includes(response.status);
  if (passing) return unavailable(response.headers.get("retry-after"));
  return new Refusal(502, {
    code: "backend_failed",
    message: "The backend failed to answer.",
    remedy: "Try again; if it fails again, tell an admin of the project.",
  });
}

function unavailable(retryAfterHeader: string | null = null): Refusal {
  const seconds = /^\d{1,5}$/.test(retryAfterHeader ?? "") ? String(retryAfterHeader) : String(RETRY_AFTER_SECONDS);
  return new Refusal(503, {
    code: "backend_unavailable",
    message: "The backend did not answer.",
    remedy: "Check whether the request succeeded, or send a client_key with it; then try again.",
  }, { "Retry-After": seconds });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}
