// Runs Supabase Lite (REST, Auth, Storage) on an existing Postgres.
// stdin: one JSON line, the configuration; it closes when the parent ends, and then this process ends as well.
// stdout: one JSON line when done or ready.
import { createInterface } from "node:readline";
import { serve } from "@hono/node-server";
import { App } from "@supabase/lite";
import { connect } from "./database.mjs";
import { FileStorage } from "./files.mjs";
import { answer } from "./hosted.mjs";

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const stdin = createInterface({ input: process.stdin });
stdin.once("line", (line) => {
  run(JSON.parse(line)).catch((error) => {
    console.error(error);
    process.exit(1);
  });
});
stdin.once("close", () => process.exit(0));

async function run(config) {
  const connection = connect(config);
  const app = createApp(config, connection);
  app._storageAdapter = new FileStorage(config.storageDir);
  await app._storageAdapter.prepare();
  await app.init();
  if (config.task === "provision") {
    await app.ensureSystemSchema(); // creates the schemas auth and storage
    await connection.close();
    process.stdout.write(`${JSON.stringify({ event: "provisioned" })}\n`, () => process.exit(0));
    return;
  }
  await connection.introspect({ useCache: true });
  const fetch = (request) => answer(app, request, config.jwtSecret);
  const server = serve({ fetch, hostname: "127.0.0.1", port: 0 }, ({ port }) => say({ event: "ready", port }));
  server.keepAliveTimeout = 75_000; // longer than the gateway keeps idle connections, so that it never reuses a closed one
  server.requestTimeout = 0;
}

function createApp(config, connection) {
  return new App({
    connection,
    auth: {
      enabled: true,
      site_url: config.url,
      jwt_secret: config.jwtSecret,
      publishable_key: config.publishableKey,
      secret_key: config.secretKey,
      enable_signup: true,
      email: { enable_signup: true, enable_confirmations: false },
    },
    storage: { enabled: true, file_size_limit: "50MiB" },
    db: { migrations: { enabled: false } },
    studio: { enabled: false },
    options: { server: { admin: false, disableStudio: true } },
  });
}
