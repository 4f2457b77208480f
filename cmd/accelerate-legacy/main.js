// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Runs queries for Prisma's clients 5 and 6 that were generated without an engine. It is
// the gateway's sidecar: it listens on a Unix socket that only the gateway can reach, and
// is told by it, with each request, which pool to connect to and with which credential.
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

import { Engines } from "./engines.js";
import { serve, serveHealth } from "./server.js";
import { Service } from "./service.js";

const defaults = {
  socket: "/run/accelerate/legacy.sock",
  "health-port": "9091",
  "max-request-bytes": String(10 << 20),
  "max-result-bytes": String(10 << 20),
  "max-schema-bytes": String(2 << 20),
  "max-engines": "32",
  "max-engines-per-login": "8",
  "max-engine-megabytes": "256",
  "max-connections": "16",
  "max-statement-seconds": "60",
  "max-transaction-seconds": "15",
  "max-transaction-wait-seconds": "15",
  "keep-engines-seconds": "600",
  "keep-connections-seconds": "60",
  "shutdown-seconds": "10",
};

function readOptions() {
  const options = Object.fromEntries(Object.entries(defaults).map(([name, value]) => [name, { type: "string", default: value }]));
  const { values } = parseArgs({ options });
  const number = (name) => {
    const value = Number(values[name]);
    if (!Number.isInteger(value) || value < 0) throw new Error(`--${name} is no number`);
    return value;
  };
  return { socket: values.socket, number };
}

function limitsOf(number) {
  const transactionMilliseconds = number("max-transaction-seconds") * 1000;
  const statementMilliseconds = number("max-statement-seconds") * 1000;
  return {
    requestBytes: number("max-request-bytes"),
    resultBytes: number("max-result-bytes"),
    schemaBytes: number("max-schema-bytes"),
    engines: number("max-engines"),
    enginesPerLogin: number("max-engines-per-login"),
    megabytes: number("max-engine-megabytes"),
    silenceMilliseconds: 10_000,
    idleMilliseconds: number("keep-engines-seconds") * 1000,
    connections: number("max-connections"),
    keepSeconds: number("keep-connections-seconds"),
    connectMilliseconds: 10_000,
    statementMilliseconds,
    transactionMilliseconds,
    waitMilliseconds: number("max-transaction-wait-seconds") * 1000,
    // Beyond it nobody has a use for a connection any more.
    leaseMilliseconds: transactionMilliseconds + statementMilliseconds + 10_000,
  };
}

const { socket, number } = readOptions();
const limits = limitsOf(number);
const engines = new Engines(limits);
const server = serve(new Service(engines, limits), limits);
const health = serveHealth();

rmSync(socket, { force: true }); // Of a process before this one.
server.listen(socket, () => health.listen(number("health-port")));

async function end() {
  const patience = Date.now() + number("shutdown-seconds") * 1000;
  server.close();
  server.closeIdleConnections();
  while (engines.busy && Date.now() < patience) await sleep(50);
  await Promise.race([engines.close(), sleep(2_000)]);
  process.exit(0);
}
process.once("SIGTERM", end);
process.once("SIGINT", end);
