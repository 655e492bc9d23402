// The calls of the existing app, exactly those that docs/app-contract.md lists, with a user's token. A line of JSON,
// [number, call, ...arguments], makes a call, which is answered with ["answer", [number, result]]; Realtime's events are
// reported as they come. Arguments: URL, publishable key, {email, password} as JSON.
import { createClient } from "@supabase/supabase-js";
import { createInterface } from "node:readline";

const [url, key, credentials] = process.argv.slice(2);
const tell = (what, value) => console.log(JSON.stringify([what, value]));
const supabase = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
const { data: session, error: refused } = await supabase.auth.signInWithPassword(JSON.parse(credentials));
if (refused) throw refused;
const userId = session.user.id;
const watched = new Map();

const calls = {
  async submit(functionName, body) {
    const { data, error } = await supabase.functions.invoke(functionName, { body });
    if (!error) return { data };
    const { status, headers } = error.context;
    return { error: error.name, status, retryAfter: headers.get("retry-after"), body: await error.context.json() };
  },

  // The screen of one batch: a batch event is merged into its object, every item event reads the view again.
  async watch(batchId) {
    const batch = {};
    watched.set(batchId, batch);
    const channel = supabase
      .channel(`batch_${batchId}`)
      .on("postgres_changes", { event: "*", schema: "public", table: "batch_generations", filter: `id=eq.${batchId}` }, (change) => {
        Object.assign(batch, change.new);
        tell("batch", { type: change.eventType, id: batchId, batch });
      })
      .on("postgres_changes", { event: "*", schema: "public", table: "image_generations", filter: `batch_id=eq.${batchId}` }, async (change) => {
        tell("item", { type: change.eventType, batch: batchId, row: change.new });
        tell("progress", await calls.progress(batchId));
      });
    await subscribed(channel);
  },

  async watchGallery() {
    const told = (change) => tell("gallery", { type: change.eventType, row: change.new });
    const channel = supabase
      .channel("user-generations")
      .on("postgres_changes", { event: "INSERT", schema: "public", table: "image_generations" }, told)
      .on("postgres_changes", { event: "UPDATE", schema: "public", table: "image_generations" }, told);
    await subscribed(channel);
  },

  progress: (batchId) => supabase.from("batch_progress").select("*").eq("id", batchId).single(),

  list: () =>
    supabase.from("batch_generations").select("*").eq("user_id", userId).order("created_at", { ascending: false }).limit(20),

  limits: (of = userId) => supabase.rpc("get_user_limits", { p_user_id: of }),

  async retry(batchId) {
    const items = await supabase
      .from("image_generations")
      .update({ status: "pending", error_message: null, retry_count: 0 })
      .eq("batch_id", batchId)
      .eq("status", "failed");
    const batch = await supabase.from("batch_generations").update({ status: "processing", failed_count: 0 }).eq("id", batchId);
    const { data, error } = await supabase.functions.invoke("process-queue");
    return { items, batch, woken: { data, error: error?.name ?? null } };
  },

  async cancel(batchId) {
    const items = await supabase
      .from("image_generations")
      .update({ status: "failed", error_message: "Cancelled by user" })
      .eq("batch_id", batchId)
      .eq("status", "pending");
    const batch = await supabase
      .from("batch_generations")
      .update({ status: "failed", completed_at: new Date().toISOString() })
      .eq("id", batchId);
    return { items, batch };
  },

  delete: (batchId) => supabase.from("batch_generations").delete().eq("id", batchId),

  images: (generationIds) => supabase.from("images").select("*").in("generation_id", generationIds),

  async removePicture({ id, storage_path }) {
    const file = await supabase.storage.from("generated-images").remove([storage_path]);
    const row = await supabase.from("images").delete().eq("id", id);
    return { file, row };
  },

  single: (values) =>
    supabase.from("image_generations").insert({ user_id: userId, status: "pending", ...values }).select().single(),

  failSingle: (generationId, message) =>
    supabase.from("image_generations").update({ status: "failed", error_message: message }).eq("id", generationId),

  // The picture that the app saves for a single generation.
  async upload(generationId, text, format = "png") {
    const file = new Blob([text], { type: format === "svg" ? "image/svg+xml" : `image/${format}` });
    const path = `${userId}/${generationId}.${format}`;
    const bucket = supabase.storage.from("generated-images");
    const { data, error } = await bucket.upload(path, file, { upsert: true, contentType: file.type });
    return { data, error, publicUrl: bucket.getPublicUrl(path).data.publicUrl };
  },

  addPicture: (values) => supabase.from("images").insert({ user_id: userId, ...values }).select().single(),

  // An existing tag (23505) is no error for the app.
  async tag(imageId, name) {
    const added = await supabase.from("tags").insert({ name }).select().single();
    const known = await supabase.from("tags").select().eq("name", name).single();
    const linked = await supabase.from("image_tags").insert({ image_id: imageId, tag_id: known.data.id });
    return { added: added.error?.code ?? null, linked: linked.error?.code ?? null };
  },

  tagsOf: (imageId) => supabase.from("image_tags").select("tags(name)").eq("image_id", imageId),

  // Requests that the app never sends, but anyone with its key and a token can.
  write(table, values, where) {
    return matching(supabase.from(table).update(values), where).select();
  },
  insert: (table, values) => supabase.from(table).insert(values).select(),
  remove: (table, where) => matching(supabase.from(table).delete(), where).select(),
};

function matching(query, where) {
  return Object.entries(where).reduce((narrowed, [column, value]) => narrowed.eq(column, value), query);
}

/** Resolves when changes flow: after the `system` message, not at SUBSCRIBED. */
function subscribed(channel) {
  return new Promise((resolve, reject) => {
    channel
      .on("system", {}, (message) => message.status === "ok" && resolve())
      .subscribe((status, error) => error && reject(error));
  });
}

tell("signed in", userId);
for await (const line of createInterface({ input: process.stdin })) {
  const [number, call, ...given] = JSON.parse(line);
  const { data, error, status, ...rest } = (await calls[call](...given)) ?? {};
  const result = { data, error, status, ...rest };
  tell("answer", [number, JSON.parse(JSON.stringify(result, (_, value) => (value === undefined ? null : value)))]);
}
await supabase.removeAllChannels();
process.exit(0);
