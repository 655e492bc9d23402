// Broadcasts through supabase-js, in one version of Realtime's protocol: an owner, a stranger and an anonymous client on
// the owner's topic. Reports each event as a line of JSON.
// Arguments: URL, publishable key, then as JSON {recipe, vsn, owner, stranger, request}.
import { createClient } from "@supabase/supabase-js";

const [url, key, task] = process.argv.slice(2);
const { recipe, vsn, owner, stranger, request } = JSON.parse(task);
const { followChanges, submitBatch } = await import(recipe);
const tell = (what, value) => console.log(JSON.stringify([what, value]));

async function connect(credentials) {
  const options = { auth: { persistSession: false, autoRefreshToken: false }, realtime: { vsn } };
  const client = createClient(url, key, options);
  if (!credentials) return { client };
  const { data, error } = await client.auth.signInWithPassword(credentials);
  if (error) throw error;
  return { client, id: data.user.id };
}

const [app, other, anonymous] = await Promise.all([connect(owner), connect(stranger), connect()]);

const follow = (who, name) =>
  new Promise((resolve) => {
    followChanges(who.client, app.id, {
      ready: () => resolve(tell(`${name} joined`, null)),
      changed: (news) => tell(`${name} heard`, news),
      refused: (error) => resolve(tell(`${name} refused`, error.message)),
    });
  });
await Promise.all([follow(app, "owner"), follow(other, "stranger"), follow(anonymous, "anonymous")]);

// Another client of the stranger joins the topic's public namesake and sends to it.
const { client: third } = await connect(stranger);
await new Promise((resolve) => {
  const channel = third
    .channel(`user:${app.id}`)
    .on("broadcast", { event: "*" }, (message) => tell("public heard", message))
    .subscribe((status) => status === "SUBSCRIBED" && resolve(channel));
}).then((channel) => channel.send({ type: "broadcast", event: "changed", payload: { forged: true } }));

tell("created", await submitBatch(app.client, request));

process.stdin.setEncoding("utf8");
for await (const _ of process.stdin);
await Promise.all([app.client, other.client, anonymous.client, third].map((client) => client.removeAllChannels()));
process.exit(0);
