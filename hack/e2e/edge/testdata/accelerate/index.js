// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// A Worker that does with Prisma, by way of Accelerate's URL, what applications do.
import { Hono } from "hono";
import { clientOf } from "./client.js";

const app = new Hono();

app.get("/:id", async (c) => {
  const prisma = clientOf(c.env);
  const id = c.req.param("id");
  const where = { id };
  const answer = { created: await prisma.account.create({ data: { id, balance: 100 } }) };
  answer.conflict = await code(prisma.account.create({ data: { id, balance: 1 } }));
  answer.missing = await code(prisma.account.update({ where: { id: `${id}/nobody` }, data: { balance: 1 } }));
  const decrement = prisma.account.update({ where, data: { balance: { decrement: 10 } } });
  answer.batch = (await prisma.$transaction([decrement, prisma.account.findUnique({ where })]))[1].balance;
  answer.undone = await code(prisma.$transaction([decrement, prisma.account.create({ data: { id, balance: 1 } })]));
  await prisma.$transaction(async (tx) => {
    const before = await tx.account.findUniqueOrThrow({ where });
    const backend = await backendOf(tx);
    await tx.account.update({ where, data: { balance: before.balance - 20 } });
    answer.oneBackend = backend === (await backendOf(tx));
  });
  answer.thrown = await prisma
    .$transaction(async (tx) => {
      await tx.account.update({ where, data: { balance: 0 } });
      throw new Error("changed my mind");
    })
    .catch((error) => error.message);
  answer.raw = await prisma.$queryRaw`select ${id}::text as id, 1 + ${1}::int as two`;
  const look = async () => {
    const { data, info } = await prisma.account.findMany({ where, cacheStrategy: { ttl: 60 } }).withAccelerateInfo();
    return { status: info.cacheStatus, balance: data[0].balance };
  };
  answer.cached = [await look(), await look()];
  if (answer.cached[1].status === "miss") answer.cached[1] = await look(); // The other replica had not seen it.
  return c.json(answer);
});

app.onError((error, c) => c.json({ name: error.name, code: error.code, message: error.message, stack: error.stack }, 500));

const code = (promise) => promise.then(() => "nothing", (error) => error.code ?? error.message);
const backendOf = async (tx) => (await tx.$queryRaw`select pg_backend_pid() as pid`)[0].pid;

export default app;
