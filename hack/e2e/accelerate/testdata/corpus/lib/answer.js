// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { cases } from "../cases/index.js";
import { normal } from "./normal.js";

// patience is how long a case may take, in milliseconds. One that takes so long has
// transactions that wait for each other.
const patience = 60_000;

// answerer returns what answers a request: GET / with the names of the cases, POST
// /NAME with what a case comes to. settings are what a client is made with.
export function answerer({ PrismaClient, Prisma, settings }) {
  const client = (options = {}) => new PrismaClient({ ...settings(), errorFormat: "minimal", ...options });

  async function run(name) {
    const prisma = client();
    const own = [];
    const tools = {
      prisma,
      Prisma,
      client: (options) => own[own.push(client(options)) - 1],
      attempt: (promise) => promise.catch((error) => error),
    };
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(() => resolve("it does not end"), patience)));
    try {
      return await Promise.race([tools.attempt(cases[name](tools)), late]);
    } finally {
      clearTimeout(timer);
      await Promise.all([prisma, ...own].map((each) => each.$disconnect()));
    }
  }

  return async (method, path) => {
    const name = decodeURIComponent(path.slice(1));
    if (method === "GET") return [200, JSON.stringify(Object.keys(cases))];
    if (!Object.hasOwn(cases, name)) return [404, JSON.stringify({ unknown: name })];
    return [200, JSON.stringify(normal(await run(name), Prisma))];
  };
}
