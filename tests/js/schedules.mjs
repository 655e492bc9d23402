// Schedules with a user's token, and what a stranger gets for the same calls. Arguments: URL, publishable key, task.
import { createClient } from "@supabase/supabase-js";

const [url, key, argument] = process.argv.slice(2);
const task = JSON.parse(argument);
const tell = (what, value) => console.log(JSON.stringify([what, value]));

async function signIn(credentials) {
  const supabase = createClient(url, key, { auth: { persistSession: false, autoRefreshToken: false } });
  const { error } = await supabase.auth.signInWithPassword(credentials);
  if (error) throw error;
  return supabase;
}

async function call(supabase, name, parameters) {
  const { data, error } = await supabase.rpc(name, parameters);
  if (error) throw error;
  return data;
}

const owner = await signIn(task.owner);
const stranger = await signIn(task.stranger);

const p_schedule = { request: task.request, cron: "0 * * * *", time_zone: "Europe/Berlin", client_key: "one" };
const { schedule } = await call(owner, "create_schedule", { p_schedule });
const again = await call(owner, "create_schedule", { p_schedule });
if (again.schedule.id !== schedule.id) throw new Error("a repeated call made a second schedule");
tell("created", schedule);

const p_schedule_id = schedule.id;
let preview = await call(owner, "preview_schedule", { p_schedule_id });
while (preview.next_runs.length < 5) {
  await new Promise((resolve) => setTimeout(resolve, 100));
  preview = await call(owner, "preview_schedule", { p_schedule_id });
}
tell("planned", preview.next_runs.slice(0, 5));

const calls = [
  ["preview_schedule", {}],
  ["get_schedule_runs", {}],
  ["edit_schedule", { p_changes: { name: "mine" } }],
  ["pause_schedule", {}],
  ["resume_schedule", {}],
  ["delete_schedule", {}],
];
for (const id of [p_schedule_id, "00000000-0000-4000-8000-00000000ffff"]) {
  for (const [name, more] of calls) {
    const { error } = await stranger.rpc(name, { p_schedule_id: id, ...more });
    tell("refused", JSON.parse(error.details));
  }
}

tell("edited", (await call(owner, "edit_schedule", { p_schedule_id, p_changes: { name: "Foxes", missed_runs: "skip" } })).schedule);
tell("paused", (await call(owner, "pause_schedule", { p_schedule_id })).schedule);
tell("resumed", (await call(owner, "resume_schedule", { p_schedule_id })).schedule);
await call(owner, "delete_schedule", { p_schedule_id });
tell("left", await call(owner, "get_schedules", {}));
tell("done", []);
process.exit(0);
