// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// A Worker that reaches PostgreSQL with every driver its developers use. Each request
// opens a client of its own and leaves it to the end of the request, as isolates do:
//
//   POST /:driver/:target/:action?id=ID
//
// The target names the binding with the database's URL, or a Hyperdrive.
import { Hono } from "hono";
import { neonClient, neonHTTP, neonPool } from "./neon.js";
import { nodePostgres } from "./pg.js";
import { postgresJS } from "./postgres.js";
import { prismaNeon, prismaNeonHTTP, prismaPg } from "./prisma.js";
import { plain, problem } from "./plain.js";

const drivers = {
  pg: nodePostgres,
  postgres: postgresJS,
  "neon-http": neonHTTP,
  "neon-pool": neonPool,
  "neon-client": neonClient,
  "prisma-pg": prismaPg,
  "prisma-neon": prismaNeon,
  "prisma-neon-http": prismaNeonHTTP,
};

const app = new Hono();

app.post("/:driver/:target/:action", async (c) => {
  const { driver, target, action } = c.req.param();
  const binding = c.env[target];
  const url = binding.connectionString ?? binding;
  const after = (promise) => c.executionCtx.waitUntil(promise);
  const answer = await drivers[driver](url, after, action, c.req.query("id")).catch((reason) => {
    // A WebSocket that can not be opened is told of by an event.
    throw reason instanceof Error ? reason : new Error(reason.message);
  });
  return c.json(plain(answer));
});

app.onError((error, c) => c.json({ error: plain(problem(error)) }, 500));

export default app;
