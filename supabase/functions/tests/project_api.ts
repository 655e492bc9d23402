/** Stands where the project's API is, and keeps what it was asked. */

export interface Asked {
  method: string;
  path: string;
  headers: Headers;
  body: string;
}

export interface ProjectApi extends AsyncDisposable {
  url: string;
  asked: Asked[];
}

export function projectApi(answer: (asked: Asked) => Response | Promise<Response>): ProjectApi {
  const asked: Asked[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname: path } = new URL(request.url);
    const one = { method: request.method, path, headers: request.headers, body: await request.text() };
    asked.push(one);
    return await answer(one);
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  Deno.env.set("SUPABASE_URL", url);
  Deno.env.set("SUPABASE_ANON_KEY", "the-key");
  Deno.env.delete("SUPABASE_PUBLISHABLE_KEYS");
  return { url, asked, [Symbol.asyncDispose]: () => server.shutdown() };
}

/** An error as PostgREST answers it. */
export function apiError(status: number, code: string, details: unknown = null, headers?: HeadersInit): Response {
  return Response.json({ code, message: "told by the database", details, hint: null }, { status, headers });
}

export function request(body: BodyInit | null, headers: Record<string, string> = {}, method = "POST"): Request {
  const given = { "Authorization": "Bearer a-token", "Content-Type": "application/json", ...headers };
  return new Request("http://localhost/batch-generate", { method, headers: given, body });
}

/** Runs with console.error silent; gives what was said there. */
export async function quietly<T>(run: () => Promise<T>): Promise<[T, string]> {
  const original = console.error;
  const said: unknown[] = [];
  console.error = (...parts: unknown[]) => said.push(...parts);
  try {
    return [await run(), said.join(" ")];
  } finally {
    console.error = original;
  }
}
