// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Runs cases until its standard input ends, with the database of DATABASE_URL by
// itself, or by way of ACCELERATE_URL. It says where it listens in one line {"url"}.
import { createServer } from "node:http";
import { PrismaPg } from "@prisma/adapter-pg";
import { Prisma, PrismaClient } from "./generated/node/client.ts";
import { answerer } from "./lib/answer.js";
import { remote } from "./lib/remote.js";

const { DATABASE_URL, ACCELERATE_URL } = process.env;
const settings = () => (ACCELERATE_URL ? remote(ACCELERATE_URL, Prisma) : { adapter: new PrismaPg({ connectionString: DATABASE_URL }) });
const answer = answerer({ PrismaClient, Prisma, settings });

// A case that fails early leaves promises behind that nobody waits for.
process.on("unhandledRejection", () => {});

const server = createServer(async (request, response) => {
  const [status, text] = await answer(request.method, request.url).catch((error) => [500, JSON.stringify(String(error.stack))]);
  response.writeHead(status, { "content-type": "application/json" }).end(text);
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}/` })));
process.stdin.resume().on("end", () => process.exit());
