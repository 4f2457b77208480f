// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { PrismaNeon, PrismaNeonHttp } from "@prisma/adapter-neon";
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "../generated/prisma/client.ts";
import { thing } from "./sql.js";

export const prismaPg = by((url) => new PrismaPg({ connectionString: url }));
export const prismaNeon = by((url) => new PrismaNeon({ connectionString: url }));
export const prismaNeonHTTP = by((url) => new PrismaNeonHttp(url, {}));

function by(adapterOf) {
  return async (url, after, action, id) => {
    const prisma = new PrismaClient({ adapter: adapterOf(url) });
    try {
      return await actions[action](prisma, id);
    } finally {
      after(prisma.$disconnect());
    }
  };
}

const actions = {
  async values(prisma, id) {
    const where = { id };
    await prisma.thing.create({ data: { ...thing(id), nothing: undefined } });
    const read = await prisma.thing.findUniqueOrThrow({ where });
    const updated = await prisma.thing.update({ where, data: { nothing: "something" } });
    await prisma.thing.delete({ where });
    return { read, updated: updated.nothing, left: await prisma.thing.count({ where }) };
  },

  async transaction(prisma, id) {
    const where = { id };
    const balance = async () => (await prisma.account.findUniqueOrThrow({ where })).balance;
    await prisma.account.create({ data: { id, balance: 100 } });
    const pids = [];
    await prisma.$transaction(async (tx) => {
      const before = await tx.account.findUniqueOrThrow({ where });
      pids.push(await backend(tx));
      await tx.account.update({ where, data: { balance: before.balance - 30 } });
      pids.push(await backend(tx));
    });
    const committed = await balance();
    const thrown = await prisma
      .$transaction(async (tx) => {
        await tx.account.update({ where, data: { balance: 0 } });
        throw new Error("changed my mind");
      })
      .catch((error) => error.message);
    return { committed, thrown, undone: await balance(), oneBackend: pids[0] === pids[1] };
  },

  async conflict(prisma, id) {
    await prisma.account.create({ data: { id, balance: 1 } });
    await prisma.account.create({ data: { id, balance: 2 } });
  },

  work: (prisma) => prisma.$queryRaw`select 'done' as work from pg_sleep(0.05)`,

  large: (prisma) => prisma.$queryRaw`select repeat('x', 1024) as x from generate_series(1, 16384)`,
};

const backend = async (prisma) => (await prisma.$queryRaw`select pg_backend_pid() as pid`)[0].pid;
