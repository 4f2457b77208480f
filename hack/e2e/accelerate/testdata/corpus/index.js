// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Runs cases as a Worker, by way of its variable ACCELERATE_URL.
import { Prisma, PrismaClient } from "./generated/worker/client.ts";
import { answerer } from "./lib/answer.js";
import { remote } from "./lib/remote.js";

export default {
  async fetch(request, env) {
    const answer = answerer({ PrismaClient, Prisma, settings: () => remote(env.ACCELERATE_URL, Prisma) });
    const [status, text] = await answer(request.method, new URL(request.url).pathname).catch((error) => [500, JSON.stringify(String(error.stack))]);
    return new Response(text, { status, headers: { "content-type": "application/json" } });
  },
};
