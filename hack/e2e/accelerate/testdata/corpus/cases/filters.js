// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const ids = (model, where) => model.findMany({ where, select: { id: true }, orderBy: { id: "asc" } });

// An order of the server's keeps a statement from being taken apart.
const sorted = (rows) => rows.sort((a, b) => a.id - b.id);
const unordered = async (model, where) => sorted(await model.findMany({ where, select: { id: true } }));

// each returns the ids that each of the conditions finds.
const each = async (model, ...conditions) => {
  const found = [];
  for (const where of conditions) found.push((await ids(model, where)).map(({ id }) => id));
  return found;
};

const range = (n, of = (i) => i) => Array.from({ length: n }, (_, i) => of(i + 1));

export default {
  "texts": ({ prisma }) =>
    each(
      prisma.user,
      { name: { contains: "e" } },
      { name: { startsWith: "B" } },
      { name: { endsWith: "a" } },
      { name: { contains: "E", mode: "insensitive" } },
      { email: { equals: "ADA@example.org", mode: "insensitive" } },
      { name: { not: "Ada" } },
      { name: null },
      { name: { not: null } },
      { name: { gt: "Bob" } },
      { email: { contains: "%" } },
      { email: { contains: "_" } },
      { name: { notIn: ["Ada", "Bob"] } },
      { name: { in: ["Ada", "Eve"] } },
      { name: { in: ["ADA"], mode: "insensitive" } },
    ),
  "numbers": ({ prisma }) =>
    each(prisma.user, { age: { gt: 25 } }, { age: { lte: 36, gte: 25 } }, { age: { not: 25 } }, { age: { in: [61, 36] } }, { balance: { lt: "0" } }, { balance: 20 }, { age: { not: { in: [25] } } }),
  "moments": ({ prisma }) =>
    each(prisma.user, { createdAt: { gt: new Date("2001-01-03T00:00:00Z") } }, { createdAt: "2001-01-03T00:00:00Z" }, { createdAt: { in: ["2001-01-01T00:00:00+00:00", new Date("2001-01-05")] } }),
  "and, or, not": ({ prisma }) =>
    each(
      prisma.user,
      { AND: [{ active: true }, { role: "USER" }] },
      { OR: [{ role: "ADMIN" }, { AND: { age: 61, active: false } }] },
      { NOT: [{ active: true }, { age: null }] },
      { NOT: { OR: [{ id: 1 }, { id: 2 }] } },
      { OR: [] },
      { AND: [] },
      { NOT: [] },
    ),
  "fields with fields": ({ prisma }) =>
    each(prisma.post, { views: { gt: prisma.post.fields.authorId } }, { reviewerId: { equals: prisma.post.fields.authorId } }, { title: { startsWith: prisma.post.fields.body } }),
  "relations to many": ({ prisma }) =>
    each(
      prisma.user,
      { posts: { some: { published: true } } },
      { posts: { every: { published: true } } },
      { posts: { none: {} } },
      { posts: { some: { tags: { some: { name: "sql" } } } } },
      { posts: { some: { categories: { some: { category: { name: "Old" } } } } } },
      { NOT: { posts: { some: {} } } },
    ),
  "relations to one": ({ prisma }) =>
    each(
      prisma.post,
      { author: { is: { name: "Ada" } } },
      { author: { email: { endsWith: "org" }, active: false } },
      { reviewer: null },
      { reviewer: { isNot: null } },
      { reviewer: { isNot: { name: "Bob" } } },
      { author: { profile: { bio: "Counts" } } },
    ),
  "a one-to-one relation from its other side": ({ prisma }) => each(prisma.user, { profile: null }, { profile: { isNot: null } }, { profile: { is: { bio: null } } }),
  "relations to itself": ({ prisma }) =>
    each(prisma.person, { boss: { boss: { name: "Root" } } }, { staff: { none: {} } }, { follows: { some: { follows: { some: { name: "Root" } } } } }, { spouse: { isNot: null } }, { married: { isNot: null } }),
  "many-to-many": ({ prisma }) => each(prisma.post, { tags: { some: { name: { in: ["go", "sql"] } } } }, { tags: { every: { name: "maths" } } }, { tags: { none: {} } }),
  "composite relations": ({ prisma }) =>
    prisma.seat.findMany({ where: { bookings: { some: { guest: { not: null } } } }, orderBy: [{ row: "asc" }, { number: "asc" }] }),
  "in with as many values as a chunk has": ({ prisma }) => unordered(prisma.user, { id: { in: range(32766) } }),
  "in with more values than a chunk has": ({ prisma }) => unordered(prisma.user, { id: { in: range(40000, (i) => 40001 - i) } }),
  "in with more values than there can be parameters": ({ prisma, attempt }) => attempt(unordered(prisma.user, { id: { in: range(70000) }, active: true })),
  "in with many texts": ({ prisma }) => unordered(prisma.user, { email: { in: [...range(33000, (i) => `nobody${i}@example.org`), "eve@example.org"] } }),
  "in with many values and an order": ({ prisma, attempt }) => attempt(ids(prisma.user, { id: { in: range(40000) } })),
  "in with many values and a page": ({ prisma, attempt }) => attempt(prisma.user.findMany({ where: { id: { in: range(40000) } }, orderBy: { id: "desc" }, take: 2, skip: 1, select: { id: true } })),
  "in with almost too many values": ({ prisma }) => ids(prisma.user, { id: { in: range(32000) } }),
  "notIn with many values": ({ prisma, attempt }) => attempt(unordered(prisma.user, { id: { notIn: range(33000) } })),
  "two lists of many values": ({ prisma, attempt }) => attempt(unordered(prisma.user, { id: { in: range(33000) }, age: { in: range(33000) } })),
  "count with many values": ({ prisma, attempt }) => attempt(prisma.user.count({ where: { id: { in: range(40000) } } })),
  "aggregate with many values": ({ prisma, attempt }) => attempt(prisma.user.aggregate({ where: { id: { in: range(40000) } }, _sum: { age: true } })),
  "groupBy with many values": ({ prisma, attempt }) => attempt(prisma.user.groupBy({ by: ["active"], where: { id: { in: range(40000) } }, _count: true, orderBy: { active: "asc" } })),
  "relations with many values": async ({ prisma, attempt }) =>
    attempt(prisma.user.findMany({ where: { id: { in: range(40000) } }, select: { id: true, posts: { where: { id: { in: range(100) } }, orderBy: { id: "asc" }, select: { id: true } } } }).then(sorted)),
  "updateMany and deleteMany with many values": async ({ prisma }) => [
    await prisma.user.updateMany({ where: { id: { in: range(40000) } }, data: { age: { increment: 1 } } }),
    await prisma.comment.deleteMany({ where: { id: { in: range(40000) } } }),
  ],
  "relations of many rows": async ({ prisma }) => {
    await prisma.account.createMany({ data: range(20, (i) => ({ id: `n${i}`, balance: i })) });
    await prisma.comment.createMany({ data: range(200, (i) => ({ text: `c${i}`, postId: 1 + (i % 6), authorId: 1 + (i % 5) })) });
    return prisma.post.findMany({ select: { id: true, comments: { select: { text: true, author: { select: { name: true } } }, orderBy: { id: "asc" } } }, orderBy: { id: "asc" } });
  },
};
