// Serves each <folder>/<name>/index.ts at /functions/v1/<name>, as hosted Supabase does, all in this process.
// stdin: one JSON line, {folder}; it closes when the parent ends, and then this process ends as well.
// stdout: one JSON line when ready.

type Handler = (request: Request, info: Deno.ServeHandlerInfo) => Response | Promise<Response>;

const NAME = /^[A-Za-z][\w-]*$/;
const serve = Deno.serve;
const functions = new Map<string, Handler>();
// stdout is for the parent, so the functions' output goes to stderr, which is the log.
console.log = console.info = console.debug = console.error;

const { folder } = JSON.parse(await firstLine());
for (const { name, isDirectory } of Deno.readDirSync(folder)) {
  if (isDirectory && NAME.test(name)) await load(name, `${folder}/${name}/index.ts`);
}
serve({
  hostname: "127.0.0.1",
  port: 0,
  onListen: ({ port }) => say({ event: "ready", port, functions: [...functions.keys()] }),
}, answer);

async function firstLine(): Promise<string> {
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (!text.includes("\n")) {
    const { value, done } = await lines.read();
    if (done) Deno.exit(1);
    text += value;
  }
  void endWithParent(lines);
  return text;
}

async function endWithParent(lines: ReadableStreamDefaultReader<string>): Promise<void> {
  while (!(await lines.read()).done);
  Deno.exit(0);
}

/** Loads a function. Its file calls Deno.serve, which is replaced to register the handler instead of listening. */
async function load(name: string, file: string): Promise<void> {
  if (!exists(file)) return;
  let handler: Handler = notStarted;
  const take = (...given: unknown[]) => void (handler = given.findLast((one) => typeof one === "function") as Handler);
  Object.defineProperty(Deno, "serve", { value: take, configurable: true });
  try {
    await import(`file://${file.split("/").map(encodeURIComponent).join("/")}`);
  } catch (error) {
    console.error(`${name}:`, error);
    handler = notStarted;
  }
  functions.set(name, handler);
}

function exists(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

async function answer(request: Request, info: Deno.ServeHandlerInfo): Promise<Response> {
  const name = /^\/functions\/v1\/([^/]+)/.exec(new URL(request.url).pathname)?.[1] ?? "";
  const handler = functions.get(name);
  if (!handler) return refusal(404, "NOT_FOUND", "Requested function was not found");
  try {
    return await handler(request, info);
  } catch (error) {
    console.error(`${name}:`, error);
    return refusal(500, "WORKER_ERROR", "Function exited due to an error (please check logs)");
  }
}

function notStarted(): Response {
  return refusal(503, "BOOT_ERROR", "Function failed to start (please check logs)");
}

function refusal(status: number, code: string, message: string): Response {
  return Response.json({ code, message }, { status, headers: { "Access-Control-Allow-Origin": "*" } });
}

function say(message: unknown): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(message)}\n`));
}
