// Exports as an app asks for them: request, poll, download with the link, and with the owner's own rights. Reports each
// answer as a line of JSON. Arguments: URL, publishable key, then as JSON {owner, stranger, batchIds}.
import { createClient } from "@supabase/supabase-js";
import { setTimeout as pause } from "node:timers/promises";

const [url, key, task] = process.argv.slice(2);
const { owner, stranger, batchIds } = JSON.parse(task);
const tell = (what, value) => console.log(JSON.stringify([what, value]));

async function signIn(credentials) {
  const client = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
  const { error } = await client.auth.signInWithPassword(credentials);
  if (error) throw error;
  return client;
}

const app = await signIn(owner);
const other = await signIn(stranger);
const asked = await app.rpc("request_export", { p_batch_ids: batchIds });
if (asked.error) throw asked.error;
const again = await app.rpc("request_export", { p_batch_ids: [...batchIds].reverse() });
tell("asked", { first: asked.data.id, again: again.data.id });
tell("refused", (await other.rpc("request_export", { p_batch_ids: batchIds })).error?.message ?? null);

let ready;
for (;;) {
  ready = (await app.rpc("get_exports")).data.find((one) => one.id === asked.data.id);
  if (["ready", "failed"].includes(ready.status)) break;
  await pause(100);
}
const files = [];
for (const part of ready.parts) {
  const response = await fetch(part.url);
  files.push({
    status: response.status,
    name: response.headers.get("content-disposition"),
    content: Buffer.from(await response.arrayBuffer()).toString("base64"),
  });
}
tell("ready", { ...ready, files });

const bucket = (client) => client.storage.from("batchgen-exports");
const [{ path }] = ready.parts;
const open = await fetch(`${url}/storage/v1/object/public/batchgen-exports/${path}`);
const own = await bucket(app).createSignedUrl(path, 60);
tell("rights", {
  own: (await fetch(own.data.signedUrl)).status,
  downloaded: (await bucket(app).download(path)).data?.size ?? null,
  open: open.ok,
  listed: (await other.rpc("get_exports")).data,
  download: (await bucket(other).download(path)).data,
  signed: (await bucket(other).createSignedUrl(path, 60)).data?.signedUrl ?? null,
  stored: (await bucket(app).upload(path.replace(/[^/]*$/, "mine.zip"), new Blob(["x"]))).data,
  replaced: (await bucket(app).upload(path, new Blob(["x"]), { upsert: true })).data,
});
process.exit(0);
