// The links of docs/javascript.md to the pictures of a batch, for their owner and for a stranger. Arguments: URL,
// publishable key, then as JSON {recipe, owner, stranger, batch}.
import { createClient } from "@supabase/supabase-js";

const [url, key, task] = process.argv.slice(2);
const { recipe, owner, stranger, batch } = JSON.parse(task);
const { pictureLinks } = await import(recipe);
const tell = (what, value) => console.log(JSON.stringify([what, value]));

async function signIn(credentials) {
  const client = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
  const { error } = await client.auth.signInWithPassword(credentials);
  if (error) throw error;
  return client;
}

const mine = await signIn(owner);
const { data: snapshot, error } = await mine.rpc("batch_snapshot", { p_batch_id: batch });
if (error) throw error;
const images = snapshot.generations.flatMap((item) => item.images);
const links = await pictureLinks(mine, images);
const statuses = await Promise.all([...links.values()].map(async (link) => (await fetch(link)).status));
tell("owner", { paths: [...links.keys()], statuses });
const theirs = await pictureLinks(await signIn(stranger), images);
const seen = await Promise.all([...theirs.values()].map(async (link) => (await fetch(link)).status));
tell("stranger", { statuses: seen });
process.exit(0);
