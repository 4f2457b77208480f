// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const level = async (tx) => (await tx.$queryRaw`show transaction_isolation`)[0].transaction_isolation;
const balance = async (db, id) => (await db.account.findUniqueOrThrow({ where: { id } })).balance;

// gate returns a promise and what fulfils it.
function gate() {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  return { opened, open };
}

export default {
  "commit": async ({ prisma }) => [
    await prisma.$transaction(async (tx) => {
      await tx.account.update({ where: { id: "a" }, data: { balance: { decrement: 30 } } });
      await tx.account.update({ where: { id: "b" }, data: { balance: { increment: 30 } } });
      return balance(tx, "b");
    }),
    await prisma.account.findMany({ orderBy: { id: "asc" } }),
  ],
  "rollback by an application's error": async ({ prisma, attempt }) => [
    await attempt(
      prisma.$transaction(async (tx) => {
        await tx.account.deleteMany();
        throw new Error("changed my mind");
      }),
    ),
    await prisma.account.count(),
  ],
  "rollback by a database's error": async ({ prisma, attempt }) => [
    await attempt(
      prisma.$transaction(async (tx) => {
        await tx.account.update({ where: { id: "a" }, data: { balance: 0 } });
        await tx.account.create({ data: { id: "b", balance: 0 } });
      }),
    ),
    await prisma.account.findMany({ orderBy: { id: "asc" } }),
  ],
  "an error that is caught leaves an aborted transaction": async ({ prisma, attempt }) => [
    await attempt(
      prisma.$transaction(async (tx) => {
        const first = await attempt(tx.account.create({ data: { id: "a", balance: 0 } }));
        const second = await attempt(tx.account.count());
        return [first, second];
      }),
    ),
    await prisma.account.count(),
  ],
  "all of it on one connection": ({ prisma }) =>
    prisma.$transaction(async (tx) => {
      const pids = [];
      for (let i = 0; i < 5; i++) pids.push((await tx.$queryRaw`select pg_backend_pid() as pid`)[0].pid);
      return new Set(pids).size;
    }),
  "what is not committed is not seen outside": async ({ prisma }) => {
    const seen = await prisma.$transaction(async (tx) => {
      await tx.account.update({ where: { id: "a" }, data: { balance: 1 } });
      return [await balance(tx, "a"), await balance(prisma, "a")];
    });
    return [seen, await balance(prisma, "a")];
  },
  "isolation levels": async ({ prisma, attempt }) => {
    const levels = [];
    for (const isolationLevel of ["ReadUncommitted", "ReadCommitted", "RepeatableRead", "Serializable"]) {
      levels.push(await attempt(prisma.$transaction(level, { isolationLevel })));
    }
    return [levels, await prisma.$transaction(level)];
  },
  "an isolation level for the whole client": ({ client }) => client({ transactionOptions: { isolationLevel: "RepeatableRead" } }).$transaction(level),
  "a level that PostgreSQL lacks": ({ prisma, attempt }) => attempt(prisma.$transaction(level, { isolationLevel: "Snapshot" })),
  "nested and parallel queries": ({ prisma }) =>
    prisma.$transaction(async (tx) => Promise.all([tx.user.count(), tx.post.count(), tx.user.create({ data: { email: "n@example.org", createdAt: "2001-01-01T00:00:00Z", posts: { create: { title: "x" } } }, include: { posts: true } })])),
  "two at a time": async ({ prisma }) => {
    const [left, right, last] = [gate(), gate(), gate()];
    const one = prisma.$transaction(async (tx) => {
      await tx.account.update({ where: { id: "a" }, data: { balance: 1 } });
      left.open();
      await right.opened;
      const seen = await balance(tx, "b");
      last.open();
      return seen;
    });
    const other = prisma.$transaction(async (tx) => {
      await left.opened;
      await tx.account.update({ where: { id: "b" }, data: { balance: 2 } });
      const seen = await balance(tx, "a");
      right.open();
      await last.opened;
      return seen;
    });
    return [await one, await other, await prisma.account.findMany({ orderBy: { id: "asc" } })];
  },
  "a conflict of two that are serializable": async ({ prisma, attempt }) => {
    const [left, right] = [gate(), gate()];
    const options = { isolationLevel: "Serializable", timeout: 30000 };
    const one = attempt(
      prisma.$transaction(async (tx) => {
        await balance(tx, "a");
        left.open();
        await right.opened;
        return tx.account.update({ where: { id: "a" }, data: { balance: { increment: 1 } } });
      }, options),
    );
    await left.opened;
    await prisma.$transaction((tx) => tx.account.update({ where: { id: "a" }, data: { balance: { increment: 10 } } }), options);
    right.open();
    return [await one, await balance(prisma, "a")];
  },
  "a deadlock": async ({ prisma, attempt }) => {
    const [left, right] = [gate(), gate()];
    const swap = (first, second, mine, theirs) =>
      attempt(
        prisma.$transaction(
          async (tx) => {
            await tx.account.update({ where: { id: first }, data: { balance: 3 } });
            mine.open();
            await theirs.opened;
            await tx.account.update({ where: { id: second }, data: { balance: 3 } });
            return "done";
          },
          { timeout: 30000 },
        ),
      );
    const results = await Promise.all([swap("a", "b", left, right), swap("b", "a", right, left)]);
    const [victim] = results.filter((result) => result !== "done");
    return [results.filter((result) => result === "done").length, victim];
  },
  "a timeout": async ({ prisma, attempt }) => {
    const failed = await attempt(
      prisma.$transaction(
        async (tx) => {
          await tx.account.update({ where: { id: "a" }, data: { balance: 0 } });
          await new Promise((resolve) => setTimeout(resolve, 1500));
          return tx.account.count();
        },
        { timeout: 500 },
      ),
    );
    return [failed.name, failed.code, failed.message.replace(/\d{3,} ms/g, "N ms"), await balance(prisma, "a")];
  },
  "used after its end": async ({ prisma, attempt }) => {
    let kept;
    await prisma.$transaction(async (tx) => {
      kept = tx;
      await tx.account.count();
    });
    const failed = await attempt(kept.account.count());
    return [failed.name, failed.code, failed.message];
  },
  "used after its rollback": async ({ prisma, attempt }) => {
    let kept;
    await attempt(
      prisma.$transaction(async (tx) => {
        kept = tx;
        throw new Error("no");
      }),
    );
    const failed = await attempt(kept.account.count());
    return [failed.name, failed.code, failed.message];
  },
  "a batch among interactive ones": async ({ prisma }) => [
    await prisma.$transaction(async (tx) => tx.account.update({ where: { id: "c" }, data: { balance: 5 } })),
    await prisma.$transaction([prisma.account.update({ where: { id: "c" }, data: { balance: { multiply: 2 } } })]),
  ],
  "read only, deferrable and other settings": ({ prisma, attempt }) =>
    attempt(
      prisma.$transaction(async (tx) => {
        await tx.$executeRaw`set transaction read only`;
        await tx.account.create({ data: { id: "n", balance: 0 } });
      }),
    ),
  "savepoints by hand": async ({ prisma, attempt }) => {
    const inside = await prisma.$transaction(async (tx) => {
      await tx.account.update({ where: { id: "a" }, data: { balance: 7 } });
      await tx.$executeRaw`savepoint here`;
      const failed = await attempt(tx.account.create({ data: { id: "b", balance: 0 } }));
      await tx.$executeRaw`rollback to savepoint here`;
      return [failed.code, await balance(tx, "a")];
    });
    return [inside, await balance(prisma, "a")];
  },
};
