// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

export default {
  "count": async ({ prisma }) => [
    await prisma.user.count(),
    await prisma.user.count({ where: { active: true } }),
    await prisma.user.count({ select: { _all: true, age: true, name: true } }),
    await prisma.user.count({ take: 2, skip: 1 }),
    await prisma.user.count({ cursor: { id: 3 }, orderBy: { id: "asc" } }),
  ],
  "aggregate of each kind": ({ prisma }) =>
    prisma.user.aggregate({ _count: true, _avg: { age: true, balance: true }, _sum: { age: true, balance: true }, _min: { age: true, name: true, createdAt: true }, _max: { balance: true, email: true, createdAt: true } }),
  "aggregate of nothing": ({ prisma }) => prisma.user.aggregate({ where: { id: 99 }, _count: { _all: true, age: true }, _avg: { age: true }, _sum: { balance: true }, _min: { name: true } }),
  "aggregate of each scalar": ({ prisma }) =>
    prisma.scalar.aggregate({
      where: { id: { lte: 2 } },
      _sum: { int: true, big: true, float: true, decimal: true },
      _avg: { int: true, big: true, float: true, decimal: true },
      _min: { text: true, int: true, big: true, float: true, decimal: true, at: true, colour: true, bytes: false },
      _max: { text: true, int: true, big: true, float: true, decimal: true, at: true, colour: true },
    }),
  "aggregate with order and page": ({ prisma }) => prisma.post.aggregate({ orderBy: { views: "desc" }, take: 3, skip: 1, _sum: { views: true }, _max: { views: true } }),
  "sums beyond an integer": async ({ prisma, attempt }) => [
    await attempt(prisma.scalar.aggregate({ where: { id: { in: [1, 3] } }, _sum: { int: true } })),
    await attempt(prisma.scalar.aggregate({ where: { id: { in: [1, 3] } }, _sum: { big: true } })),
  ],
  "groupBy": ({ prisma }) => prisma.user.groupBy({ by: ["role", "active"], _count: true, _avg: { age: true }, orderBy: [{ role: "asc" }, { active: "asc" }] }),
  "groupBy one field": ({ prisma }) => prisma.user.groupBy({ by: "age", _count: { _all: true, name: true }, _sum: { balance: true }, orderBy: { age: "asc" } }),
  "groupBy having": async ({ prisma }) => [
    await prisma.user.groupBy({ by: ["role"], having: { age: { _avg: { gt: 30 } } }, _avg: { age: true }, orderBy: { role: "asc" } }),
    await prisma.user.groupBy({ by: ["age"], having: { age: { not: null }, id: { _count: { gt: 1 } } }, orderBy: { age: "asc" } }),
    await prisma.user.groupBy({ by: ["age"], having: { OR: [{ balance: { _sum: { gt: "14" } } }, { age: { gt: 60 } }] }, _sum: { balance: true }, orderBy: { age: "asc" } }),
    await prisma.user.groupBy({ by: ["role"], having: { NOT: { role: "USER" } }, orderBy: { role: "desc" } }),
  ],
  "groupBy ordered by an aggregate": ({ prisma }) => prisma.post.groupBy({ by: ["authorId"], _sum: { views: true }, _max: { score: true }, orderBy: [{ _sum: { views: "desc" } }, { authorId: "asc" }] }),
  "groupBy pages": ({ prisma }) => prisma.post.groupBy({ by: ["authorId"], where: { published: true }, _count: { id: true }, orderBy: { authorId: "asc" }, take: 1, skip: 1 }),
  "groupBy an enum with mapped values": ({ prisma }) => prisma.scalar.groupBy({ by: ["colour"], _count: true, orderBy: { colour: "asc" } }),
  "groupBy dates, decimals and big integers": ({ prisma }) => prisma.scalar.groupBy({ by: ["at", "decimal", "big"], _count: { _all: true }, where: { id: { lte: 2 } }, orderBy: { at: "asc" } }),
  "count of relations with conditions": ({ prisma }) =>
    prisma.user.findFirst({ where: { id: 1 }, select: { _count: { select: { posts: { where: { tags: { some: { name: "go" } } } }, reviews: true } } } }),
};
