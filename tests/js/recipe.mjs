// The code of docs/javascript.md, given as a path, with long prompts and a second device. Reports each event as a line
// of JSON. Arguments: URL, publishable key, then as JSON {recipe, owner, stranger, request}.
import { createClient } from "@supabase/supabase-js";

const [url, key, task] = process.argv.slice(2);
const { recipe, owner, stranger, request } = JSON.parse(task);
const { followBatch, followPictures, submitBatch } = await import(recipe);
const tell = (what, value) => console.log(JSON.stringify([what, value]));

async function signIn(credentials) {
  const client = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
  const { data, error } = await client.auth.signInWithPassword(credentials);
  if (error) throw error;
  return { client, id: data.user.id };
}

const [phone, laptop, other] = await Promise.all([signIn(owner), signIn(owner), signIn(stranger)]);

const refused = await submitBatch(phone.client, { prompts: [{ text: "alone" }] }).catch((error) => error);
tell("refused", { code: refused.code, message: refused.message, remedy: refused.remedy });

const listen = (who, name) =>
  new Promise((resolve) => {
    followPictures(who.client, phone.id, {
      ready: resolve,
      added: (image) => tell(`${name} added`, image),
      changed: (image) => tell(`${name} changed`, image),
      deleted: (id) => tell(`${name} deleted`, id),
    });
  });
await Promise.all([listen(laptop, "laptop"), listen(other, "stranger")]);

// The items' events by themselves, to show that they lack the prompt.
const bare = laptop.client.channel("bare");
await new Promise((resolve) => {
  bare
    .on("postgres_changes", { event: "UPDATE", schema: "public", table: "image_generations" }, (change) =>
      tell("event", { status: change.new.status, hasPrompt: "prompt" in change.new }),
    )
    .on("system", {}, resolve)
    .subscribe();
});

const batch = await submitBatch(phone.client, request);
const end = await followBatch(phone.client, batch.id, ({ batch, items }) =>
  tell("state", { status: batch.status, items: items.map(({ id, status, prompt }) => ({ id, status, prompt })) }),
);
tell("end", end);

const { data: images } = await phone.client.from("images").select("id").eq("user_id", phone.id).order("id");
await phone.client.from("images").update({ is_favorite: true }).eq("id", images[0].id);
await phone.client.from("images").delete().eq("id", images[1].id);
tell("done", images.map((image) => image.id));

process.stdin.setEncoding("utf8");
for await (const _ of process.stdin);
await Promise.all([phone, laptop, other].map(({ client }) => client.removeAllChannels()));
process.exit(0);
