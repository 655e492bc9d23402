// Calls SQL functions with a user's token. A line of JSON, [number, "rpc", function, arguments], makes a call, which is
// answered with ["answer", [number, {data, error, status}]]. Arguments: URL, publishable key, {email, password} as JSON.
import { createClient } from "@supabase/supabase-js";
import { createInterface } from "node:readline";

const [url, key, credentials] = process.argv.slice(2);
const tell = (what, value) => console.log(JSON.stringify([what, value]));
const supabase = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
const { error: refused } = await supabase.auth.signInWithPassword(JSON.parse(credentials));
if (refused) throw refused;

tell("signed in", null);
for await (const line of createInterface({ input: process.stdin })) {
  const [number, , name, given] = JSON.parse(line);
  const { data, error, status } = await supabase.rpc(name, given);
  tell("answer", [number, { data, error, status }]);
}
process.exit(0);
