// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Runs the bundled Worker in workerd until its standard input ends. The first line
// of that is {"bindings": {NAME: text}, "hyperdrives": {NAME: url}}; it says where it
// listens in one line {"url"}.
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";

const input = createInterface({ input: process.stdin });
const lines = input[Symbol.asyncIterator]();
const { bindings, hyperdrives } = JSON.parse((await lines.next()).value);

const modules = {};
for (const name of readdirSync("dist")) {
  if (name.endsWith(".js")) modules[name] = { type: "esm", contents: readFileSync(`dist/${name}`, "utf8") };
  if (name.endsWith(".wasm")) modules[name] = { type: "wasm", contents: new Uint8Array(readFileSync(`dist/${name}`)) };
}
const env = {};
for (const [name, value] of Object.entries(bindings)) env[name] = { type: "text", value };
for (const [name, connectionString] of Object.entries(hyperdrives)) {
  env[name] = { type: "hyperdrive", id: name, dev: { connectionString } };
}

const miniflare = new Miniflare({
  host: "127.0.0.1",
  port: 0,
  cf: false, // Else it looks for one on the Internet.
  enableDevRegistry: false,
  logRequests: false,
  workers: [
    {
      config: {
        name: "workers",
        compatibilityDate: "2026-10-01",
        compatibilityFlags: ["nodejs_compat"],
        manifest: { mainModule: "index.js", modules },
        env,
      },
    },
  ],
});
console.log(JSON.stringify({ url: await miniflare.ready }));

while (!(await lines.next()).done);
await miniflare.dispose();
