// The main calls of the app: signs in with supabase-js, submits a batch, and follows it like the existing app. Reports
// each event as a line of JSON, and everything that a stranger could see.
// Arguments: URL, publishable key, then as JSON {owner: {email, password}, stranger: {email, password}, request}.
import { createClient } from "@supabase/supabase-js";

const [url, key, task] = process.argv.slice(2);
const { owner, stranger, request } = JSON.parse(task);
const tell = (what, value) => console.log(JSON.stringify([what, value]));

async function signIn(credentials) {
  const client = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
  const { error } = await client.auth.signInWithPassword(credentials);
  if (error) throw error;
  return client;
}

/** Resolves when changes flow: after the `system` message, not at SUBSCRIBED. */
function subscribed(channel) {
  return new Promise((resolve, reject) => {
    channel
      .on("system", {}, (message) => message.status === "ok" && resolve())
      .subscribe((status, error) => error && reject(error));
  });
}

const app = await signIn(owner);
const other = await signIn(stranger);

const { data, error } = await app.rpc("create_batch", { p_request: request });
if (error) throw error;
const batchId = data.batch.id;
tell("created", data.batch);

const items = (event) => ({ event, schema: "public", table: "image_generations", filter: `batch_id=eq.${batchId}` });
const report = (who) => (change) => tell(who, { table: change.table, type: change.eventType, row: change.new });
await Promise.all([
  // The specification's Frontend Subscription.
  subscribed(app.channel(`batch_${batchId}`).on("postgres_changes", items("UPDATE"), report("owner"))),
  subscribed(
    other
      .channel("everything")
      .on("postgres_changes", items("*"), report("stranger"))
      .on("postgres_changes", { event: "*", schema: "public", table: "image_generations" }, report("stranger"))
      .on("postgres_changes", { event: "*", schema: "public", table: "batch_generations" }, report("stranger")),
  ),
]);
tell("watching", null);

process.stdin.setEncoding("utf8");
for await (const command of process.stdin) {
  if (command.startsWith("look")) {
    tell("stranger_reads", {
      batches: (await other.from("batch_generations").select()).data,
      generations: (await other.from("image_generations").select()).data,
      images: (await other.from("images").select()).data,
      progress: (await other.from("batch_progress").select()).data,
      claim: (await other.rpc("claim_generations", { p_worker: "x", p_limit: 1, p_lease_seconds: 30 })).error?.code,
      as_another: (await other.rpc("create_batch_as", { p_user_id: (await app.auth.getUser()).data.user.id, p_request: request })).error?.code,
      files: (await other.storage.from("generated-images").list(command.trim().split(" ")[1])).data,
    });
    tell("progress", (await app.from("batch_progress").select().eq("id", batchId).single()).data);
  }
  if (command.startsWith("stop")) break;
}
await Promise.all([app.removeAllChannels(), other.removeAllChannels()]);
process.exit(0);
