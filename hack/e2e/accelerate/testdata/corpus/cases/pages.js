// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const ids = async (prisma, options) => (await prisma.post.findMany({ select: { id: true }, ...options })).map(({ id }) => id);

export default {
  "take and skip": async ({ prisma }) => [
    await ids(prisma, { take: 2, skip: 1, orderBy: { id: "asc" } }),
    await ids(prisma, { take: 0, orderBy: { id: "asc" } }),
    await ids(prisma, { skip: 5, orderBy: { id: "asc" } }),
    await ids(prisma, { skip: 50, orderBy: { id: "asc" } }),
  ],
  "take from the end": async ({ prisma }) => [await ids(prisma, { take: -2, orderBy: { id: "asc" } }), await ids(prisma, { take: -2, skip: 1, orderBy: { views: "desc" } })],
  "a cursor forwards": async ({ prisma }) => [
    await ids(prisma, { cursor: { id: 3 }, take: 2, orderBy: { id: "asc" } }),
    await ids(prisma, { cursor: { id: 3 }, take: 2, skip: 1, orderBy: { id: "asc" } }),
    await ids(prisma, { cursor: { id: 3 }, orderBy: { id: "desc" } }),
  ],
  "a cursor backwards": async ({ prisma }) => [
    await ids(prisma, { cursor: { id: 4 }, take: -2, orderBy: { id: "asc" } }),
    await ids(prisma, { cursor: { id: 4 }, take: -2, skip: 1, orderBy: { id: "asc" } }),
    await ids(prisma, { cursor: { id: 2 }, take: -3, orderBy: [{ views: "asc" }, { id: "asc" }] }),
  ],
  "a cursor in another order": async ({ prisma }) => [
    await ids(prisma, { cursor: { id: 1 }, take: 3, orderBy: [{ views: "desc" }, { id: "asc" }] }),
    await ids(prisma, { cursor: { id: 3 }, take: 3, orderBy: [{ score: { sort: "asc", nulls: "last" } }, { id: "asc" }] }),
    await ids(prisma, { cursor: { id: 2 }, take: 3, orderBy: [{ score: { sort: "asc", nulls: "first" } }, { id: "asc" }] }),
    await ids(prisma, { cursor: { id: 4 }, take: 2, orderBy: [{ author: { name: "asc" } }, { id: "asc" }] }),
  ],
  "a cursor that is not there": ({ prisma }) => ids(prisma, { cursor: { id: 77 }, take: 2, orderBy: { id: "asc" } }),
  "a cursor with a filter": ({ prisma }) => ids(prisma, { cursor: { id: 2 }, take: 5, where: { published: true }, orderBy: { id: "asc" } }),
  "a composite cursor": ({ prisma }) =>
    prisma.seat.findMany({ cursor: { row_number: { row: "A", number: 2 } }, take: 2, orderBy: [{ row: "asc" }, { number: "asc" }] }),
  "a composite cursor of which one part leads": ({ prisma }) =>
    prisma.booking.findMany({ cursor: { place: { row: "A", number: 1, day: "2001-05-02T00:00:00Z" } }, take: -2, orderBy: [{ day: "asc" }, { row: "asc" }] }),
  "a cursor of another type": async ({ prisma }) => [
    await prisma.tag.findMany({ cursor: { name: "maths" }, take: 2, orderBy: { name: "asc" } }),
    await prisma.event.findMany({ cursor: { id: 9007199254740994n }, orderBy: { id: "asc" } }),
    await prisma.booking.findMany({ cursor: { id: "00000000-0000-4000-8000-00000000000b" }, orderBy: { id: "asc" } }),
  ],
  "distinct": async ({ prisma }) => [
    await prisma.user.findMany({ distinct: ["age"], select: { id: true, age: true }, orderBy: { id: "asc" } }),
    await prisma.user.findMany({ distinct: ["role", "active"], select: { role: true, active: true }, orderBy: { id: "asc" } }),
    await prisma.user.findMany({ distinct: "balance", select: { id: true }, orderBy: { id: "desc" } }),
  ],
  "distinct with take and skip": async ({ prisma }) => [
    await prisma.user.findMany({ distinct: ["age"], select: { id: true }, orderBy: { id: "asc" }, take: 2, skip: 1 }),
    await prisma.user.findMany({ distinct: ["age"], select: { id: true }, orderBy: { id: "asc" }, take: -2 }),
    await prisma.user.findMany({ distinct: ["age"], select: { id: true }, orderBy: { id: "asc" }, cursor: { id: 2 }, take: 2 }),
  ],
  "distinct of what is not selected": ({ prisma }) => prisma.post.findMany({ distinct: ["authorId"], select: { title: true }, orderBy: [{ authorId: "asc" }, { id: "asc" }] }),
  "distinct with the same order": ({ prisma }) => prisma.post.findMany({ distinct: ["authorId"], orderBy: [{ authorId: "asc" }, { views: "desc" }], select: { authorId: true, views: true } }),
  "distinct dates, decimals and bytes": async ({ prisma }) => {
    await prisma.scalar.createMany({ data: [{ id: 20, at: "2001-02-03T04:05:06.789Z", decimal: "12.345", bytes: new Uint8Array([0, 255, 16]) }, { id: 21, decimal: "12.3450" }] });
    return [
      await prisma.scalar.findMany({ distinct: ["at"], select: { id: true }, orderBy: { id: "asc" } }),
      await prisma.scalar.findMany({ distinct: ["decimal"], select: { id: true }, orderBy: { id: "asc" } }),
      await prisma.scalar.findMany({ distinct: ["bytes"], select: { id: true }, orderBy: { id: "asc" } }),
    ];
  },
  "nested pages with cursors both ways": ({ prisma }) =>
    prisma.post.findMany({
      orderBy: { id: "asc" },
      take: 3,
      select: { id: true, comments: { cursor: { id: 2 }, take: -1, orderBy: { id: "asc" }, select: { id: true } }, tags: { take: 1, orderBy: { name: "desc" }, select: { name: true } } },
    }),
  "many-to-many pages": ({ prisma }) => prisma.tag.findMany({ orderBy: { name: "asc" }, include: { posts: { take: 1, skip: 1, orderBy: { id: "asc" }, select: { id: true } } } }),
};
