// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Runs Prisma's own executor of query plans until its standard input ends, with the
// database of DATABASE_URL. It says where it listens in one line {"url"}.
import { createServer } from "node:http";
import { context } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { parseDuration, parseSize, Server } from "@prisma/query-plan-executor";

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable()); // It finds its logger by it.
const executor = await Server.create({
  databaseUrl: process.env.DATABASE_URL,
  maxResponseSize: parseSize("64 MiB"),
  queryTimeout: parseDuration("PT60S"),
  maxTransactionTimeout: parseDuration("PT60S"),
  maxTransactionWaitTime: parseDuration("PT60S"),
  perRequestLogContext: { logFormat: "json", logLevel: "error" },
});

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const { host, connection, "content-length": length, "transfer-encoding": encoding, ...headers } = request.headers;
  const body = request.method === "GET" ? undefined : Buffer.concat(chunks);
  const answer = await executor.fetch(new Request(`http://executor${request.url}`, { method: request.method, headers, body }));
  response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(Buffer.from(await answer.arrayBuffer()));
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ url: `http://localhost:${server.address().port}/` })));
process.stdin.resume().on("end", () => process.exit());
