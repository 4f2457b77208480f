// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const user = (n, more) => ({ email: `new${n}@example.org`, createdAt: "2001-06-01T00:00:00Z", ...more });

export default {
  "create": ({ prisma }) => prisma.user.create({ data: user(1, { name: "New", role: "EDITOR", balance: "1.5" }) }),
  "create and select": ({ prisma }) => prisma.user.create({ data: user(1), select: { id: true, email: true, posts: true, _count: { select: { posts: true } } } }),
  "create and omit": ({ prisma }) => prisma.user.create({ data: user(1), omit: { createdAt: true, id: true } }),
  "createMany": async ({ prisma }) => [await prisma.user.createMany({ data: [user(1), user(2, { age: 3 }), user(3, { name: null })] }), await prisma.user.findMany({ where: { id: { gt: 100 } }, orderBy: { id: "asc" } })],
  "createMany of nothing": ({ prisma }) => prisma.user.createMany({ data: [] }),
  "createMany skips duplicates": ({ prisma }) => prisma.user.createMany({ data: [user(1), { email: "ada@example.org" }, user(1)], skipDuplicates: true }),
  "createMany of more rows than there can be parameters": async ({ prisma }) => [
    await prisma.account.createMany({ data: Array.from({ length: 15000 }, (_, i) => ({ id: `n${i}`, balance: i, version: i % 3 })) }),
    await prisma.account.count(),
    await prisma.account.aggregate({ _sum: { balance: true }, _max: { balance: true } }),
  ],
  "createManyAndReturn": ({ prisma }) => prisma.user.createManyAndReturn({ data: [user(1), user(2, { age: 3, role: "ADMIN" })] }),
  "createManyAndReturn selects and includes": async ({ prisma }) => [
    await prisma.post.createManyAndReturn({ data: [{ title: "x", authorId: 1 }, { title: "y", authorId: 2, reviewerId: 1 }], include: { author: { select: { name: true } } } }),
    await prisma.post.createManyAndReturn({ data: [{ title: "z", authorId: 1 }], select: { title: true, reviewer: true } }),
    await prisma.user.createManyAndReturn({ data: [{ email: "ada@example.org" }, user(9)], skipDuplicates: true, omit: { createdAt: true } }),
  ],
  "update": ({ prisma }) => prisma.user.update({ where: { email: "bob@example.org" }, data: { name: "Robert", age: null, role: "ADMIN" } }),
  "update by a composite id": ({ prisma }) => prisma.seat.update({ where: { row_number: { row: "A", number: 1 } }, data: { price: { multiply: 2 }, number: 9 }, include: { bookings: true } }),
  "update with further conditions": async ({ prisma, attempt }) => [
    await prisma.account.update({ where: { id: "a", version: 0 }, data: { version: { increment: 1 }, balance: 1 } }),
    await attempt(prisma.account.update({ where: { id: "a", version: 0 }, data: { balance: 2 } })),
  ],
  "update of an id": ({ prisma }) => prisma.tag.update({ where: { name: "go" }, data: { name: "golang" }, include: { posts: { orderBy: { id: "asc" }, select: { id: true } } } }),
  "update with nothing": ({ prisma }) => prisma.user.update({ where: { id: 1 }, data: {} }),
  "updateMany": async ({ prisma }) => [
    await prisma.user.updateMany({ where: { active: true }, data: { balance: { increment: 1 } } }),
    await prisma.user.updateMany({ where: { id: 99 }, data: { name: "x" } }),
    await prisma.user.updateMany({ where: { posts: { some: { published: false } } }, data: { name: "Drafty" } }),
    await prisma.user.findMany({ orderBy: { id: "asc" }, select: { name: true, balance: true } }),
  ],
  "updateMany with a limit": async ({ prisma }) => [await prisma.user.updateMany({ data: { name: "same" }, limit: 2 }), await prisma.user.count({ where: { name: "same" } })],
  "updateManyAndReturn": async ({ prisma }) => {
    const rows = await prisma.post.updateManyAndReturn({ where: { authorId: 1 }, data: { views: { increment: 100 } }, include: { author: { select: { name: true } } } });
    return rows.sort((a, b) => a.id - b.id);
  },
  "updateManyAndReturn of nothing": ({ prisma }) => prisma.user.updateManyAndReturn({ where: { id: 99 }, data: { name: "x" }, select: { id: true } }),
  "upsert creates": ({ prisma }) => prisma.user.upsert({ where: { email: "new1@example.org" }, create: user(1, { name: "created" }), update: { name: "updated" } }),
  "upsert updates": ({ prisma }) => prisma.user.upsert({ where: { email: "ada@example.org" }, create: user(1, { name: "created" }), update: { name: "updated", age: { increment: 1 } } }),
  "upsert in one statement": async ({ prisma }) => [
    await prisma.account.upsert({ where: { id: "z" }, create: { id: "z", balance: 1 }, update: { balance: { increment: 10 } } }),
    await prisma.account.upsert({ where: { id: "z" }, create: { id: "z", balance: 1 }, update: { balance: { increment: 10 } } }),
  ],
  "upsert with relations": async ({ prisma }) => [
    await prisma.user.upsert({ where: { id: 1 }, create: user(1), update: { posts: { create: { title: "upserted" } } }, include: { posts: { orderBy: { id: "asc" } } } }),
    await prisma.user.upsert({ where: { id: 77 }, create: user(2, { posts: { create: { title: "inserted" } } }), update: {}, include: { posts: true } }),
  ],
  "upsert by a composite unique": ({ prisma }) =>
    prisma.booking.upsert({
      where: { place: { row: "A", number: 1, day: "2001-05-01T00:00:00Z" } },
      create: { row: "A", number: 1, day: "2001-05-01T00:00:00Z", guest: "created" },
      update: { guest: "updated" },
    }),
  "delete": async ({ prisma }) => [await prisma.user.delete({ where: { email: "eve@example.org" } }), await prisma.user.count()],
  "delete and include": ({ prisma }) => prisma.post.delete({ where: { id: 1 }, include: { author: true, tags: { orderBy: { name: "asc" } }, comments: { orderBy: { id: "asc" } } } }),
  "delete cascades and sets null": async ({ prisma }) => {
    await prisma.post.deleteMany({ where: { authorId: 2 } });
    await prisma.user.delete({ where: { id: 2 } });
    return [await prisma.profile.count(), await prisma.post.findMany({ select: { id: true, reviewerId: true }, orderBy: { id: "asc" } }), await prisma.comment.findMany({ orderBy: { id: "asc" } })];
  },
  "deleteMany": async ({ prisma }) => [
    await prisma.comment.deleteMany({ where: { author: { name: "Bob" } } }),
    await prisma.comment.deleteMany({ where: { id: 99 } }),
    await prisma.comment.deleteMany({ limit: 1 }),
    await prisma.comment.deleteMany(),
  ],
};
