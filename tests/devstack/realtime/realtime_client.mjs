// Drives an unchanged supabase-js for test_realtime_clients.py: reports each event as a line of JSON.
// Arguments: URL, key, protocol version, then as JSON the binding and, for a signed-in user, the token.
import { createClient } from "@supabase/supabase-js";

const [url, key, vsn, bindingJson, tokensJson] = process.argv.slice(2);
const tell = (what, value) => console.log(JSON.stringify([what, value]));
const [first, second] = JSON.parse(tokensJson);

const supabase = createClient(url, key, {
  realtime: { vsn, accessToken: undefined, heartbeatIntervalMs: 500, heartbeatCallback: (s) => tell("heartbeat", s) },
  auth: { persistSession: false, autoRefreshToken: false },
});
if (first) await supabase.realtime.setAuth(first);

const channel = supabase
  .channel("room")
  .on("system", {}, (payload) => tell("system", payload))
  .on("postgres_changes", JSON.parse(bindingJson), (payload) => tell("change", payload))
  .subscribe((status, error) => tell("status", [status, error?.message ?? null]));

process.stdin.setEncoding("utf8");
for await (const command of process.stdin) {
  if (command.startsWith("token")) await supabase.realtime.setAuth(second);
  if (command.startsWith("rejoin")) {
    await supabase.removeChannel(channel);
    supabase
      .channel("room")
      .on("system", {}, (payload) => tell("system", payload))
      .on("postgres_changes", JSON.parse(bindingJson), (payload) => tell("change", payload))
      .subscribe((status, error) => tell("status", [status, error?.message ?? null]));
  }
  if (command.startsWith("stop")) {
    await supabase.removeAllChannels();
    await supabase.realtime.disconnect();
    process.exit(0);
  }
}
