// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

export default {
  "findUnique": ({ prisma }) => prisma.user.findUnique({ where: { email: "ada@example.org" } }),
  "findUnique finds nothing": ({ prisma }) => prisma.user.findUnique({ where: { id: 999 } }),
  "findUnique with further conditions": async ({ prisma }) => [
    await prisma.user.findUnique({ where: { id: 1, active: true, OR: [{ age: 36 }, { age: 37 }] } }),
    await prisma.user.findUnique({ where: { id: 1, active: false } }),
  ],
  "findUnique by a composite id": ({ prisma }) => prisma.seat.findUnique({ where: { row_number: { row: "A", number: 2 } }, include: { bookings: true } }),
  "findUnique by a named composite unique": ({ prisma }) =>
    prisma.booking.findUnique({ where: { place: { row: "A", number: 1, day: "2001-05-02T00:00:00Z" } }, include: { seat: true } }),
  "findUnique many at once": async ({ prisma }) => Promise.all([1, 2, 99, 3, 1].map((id) => prisma.user.findUnique({ where: { id }, select: { id: true, name: true } }))),
  "findUnique many at once with relations": async ({ prisma }) =>
    Promise.all([1, 2, 3].map((id) => prisma.user.findUnique({ where: { id } }).posts({ select: { title: true }, orderBy: { id: "asc" } }))),
  "findUniqueOrThrow": ({ prisma }) => prisma.user.findUniqueOrThrow({ where: { id: 2 } }),
  "findFirst": async ({ prisma }) => [
    await prisma.user.findFirst({ orderBy: { id: "desc" } }),
    await prisma.user.findFirst({ where: { age: 25 }, orderBy: { id: "asc" }, skip: 1 }),
    await prisma.user.findFirst({ where: { age: 1 } }),
  ],
  "findMany": ({ prisma }) => prisma.user.findMany({ orderBy: { id: "asc" } }),
  "findMany finds nothing": ({ prisma }) => prisma.user.findMany({ where: { id: { in: [] } } }),
  "select": ({ prisma }) => prisma.user.findMany({ select: { name: true, id: true, profile: { select: { bio: true } } }, orderBy: { id: "asc" } }),
  "omit": ({ prisma }) => prisma.user.findMany({ omit: { email: true, createdAt: true, balance: true }, orderBy: { id: "asc" } }),
  "omit for the whole client": ({ client }) => client({ omit: { user: { email: true } } }).user.findMany({ orderBy: { id: "asc" }, include: { profile: { omit: { links: true } } } }),
  "include of each kind": ({ prisma }) =>
    prisma.user.findMany({
      include: { profile: true, posts: { include: { tags: { orderBy: { name: "asc" } }, categories: { include: { category: true }, orderBy: { rank: "asc" } } }, orderBy: { id: "asc" } } },
      orderBy: { id: "asc" },
    }),
  "include both ways between two models": ({ prisma }) =>
    prisma.post.findMany({ include: { author: true, reviewer: { select: { name: true } }, comments: { include: { author: true }, orderBy: { id: "asc" } } }, orderBy: { id: "asc" } }),
  "include with filter, order and page": ({ prisma }) =>
    prisma.user.findMany({
      include: { posts: { where: { published: true }, orderBy: { views: "desc" }, take: 1, skip: 0, select: { title: true, views: true } } },
      orderBy: { id: "asc" },
    }),
  "include skips and takes per parent": ({ prisma }) =>
    prisma.user.findMany({ select: { id: true, posts: { orderBy: { id: "asc" }, skip: 1, take: 1, select: { id: true } } }, orderBy: { id: "asc" } }),
  "include takes the last per parent": ({ prisma }) =>
    prisma.user.findMany({ select: { id: true, posts: { orderBy: { id: "asc" }, take: -2, select: { id: true } } }, orderBy: { id: "asc" } }),
  "include with a cursor per parent": ({ prisma }) =>
    prisma.user.findMany({ select: { id: true, posts: { orderBy: { id: "asc" }, cursor: { id: 2 }, take: 2, select: { id: true } } }, orderBy: { id: "asc" } }),
  "include distinct per parent": ({ prisma }) =>
    prisma.user.findMany({ select: { id: true, posts: { distinct: ["published"], orderBy: { id: "asc" }, select: { id: true, published: true } } }, orderBy: { id: "asc" } }),
  "include of a relation to itself, deep": ({ prisma }) =>
    prisma.person.findMany({
      where: { bossId: null },
      include: { staff: { orderBy: { id: "asc" }, include: { staff: { include: { staff: true } }, spouse: true, married: true } }, follows: true, followers: { orderBy: { id: "asc" } } },
    }),
  "_count of relations": ({ prisma }) =>
    prisma.user.findMany({ select: { id: true, _count: { select: { posts: { where: { published: true } }, comments: true } } }, orderBy: { id: "asc" } }),
  "_count of many-to-many relations": ({ prisma }) =>
    prisma.tag.findMany({ include: { _count: true }, orderBy: { name: "asc" } }),
  "_count beside an include": ({ prisma }) =>
    prisma.post.findMany({ include: { _count: { select: { tags: true, categories: true } }, tags: { orderBy: { name: "asc" } } }, orderBy: { id: "asc" } }),
  "orderBy several": ({ prisma }) => prisma.user.findMany({ orderBy: [{ age: "desc" }, { id: "desc" }], select: { id: true, age: true } }),
  "orderBy with nulls first and last": async ({ prisma }) => [
    await prisma.user.findMany({ orderBy: [{ age: { sort: "asc", nulls: "first" } }, { id: "asc" }], select: { id: true, age: true } }),
    await prisma.user.findMany({ orderBy: [{ age: { sort: "desc", nulls: "last" } }, { id: "asc" }], select: { id: true, age: true } }),
  ],
  "orderBy a relation's field": ({ prisma }) => prisma.post.findMany({ orderBy: [{ author: { name: "desc" } }, { id: "asc" }], select: { id: true, author: { select: { name: true } } } }),
  "orderBy a relation's count": ({ prisma }) => prisma.user.findMany({ orderBy: [{ posts: { _count: "desc" } }, { id: "asc" }], select: { id: true } }),
  "orderBy a relation of a relation": ({ prisma }) => prisma.comment.findMany({ orderBy: [{ post: { author: { email: "desc" } } }, { id: "asc" }], select: { id: true } }),
  "fluent relations": async ({ prisma }) => [
    await prisma.user.findUnique({ where: { id: 1 } }).posts({ where: { published: true }, orderBy: { id: "asc" } }),
    await prisma.post.findUnique({ where: { id: 1 } }).author().profile(),
    await prisma.user.findUnique({ where: { id: 99 } }).posts(),
    await prisma.post.findFirst({ where: { id: 2 } }).reviewer(),
  ],
  "what is asked is told": async ({ client }) => {
    const asked = [];
    const prisma = client({ log: [{ emit: "event", level: "query" }] });
    prisma.$on("query", ({ query, params }) => asked.push({ query, params }));
    await prisma.user.findMany({ where: { name: "Ada", age: { gt: 1 } }, select: { id: true } });
    await prisma.$transaction([prisma.account.update({ where: { id: "a" }, data: { balance: 3 } })]);
    await prisma.$queryRaw`select ${1}::int as one, ${"x"} as x`;
    return asked;
  },
  "relations by joins and by queries agree": ({ prisma }) =>
    prisma.post.findMany({ where: { id: { in: [1, 4] } }, select: { id: true, tags: { select: { name: true, posts: { select: { id: true }, orderBy: { id: "asc" } } }, orderBy: { name: "asc" } } }, orderBy: { id: "asc" } }),
};
