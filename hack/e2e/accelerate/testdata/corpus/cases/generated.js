// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

export default {
  "defaults of every kind": ({ prisma }) => prisma.generated.create({ data: {} }),
  "defaults differ from row to row": ({ prisma }) => prisma.generated.createManyAndReturn({ data: [{}, { note: "x" }, { count: 1 }] }),
  "defaults can be given": ({ prisma }) =>
    prisma.generated.create({
      data: {
        id: 5,
        uuid4: "a",
        uuid7: "b",
        cuid1: "c",
        cuid2: "d",
        ulid: "e",
        nanoid: "f",
        nano8: "g",
        server: "00000000-0000-4000-8000-0000000000bb",
        createdAt: "2001-01-01T00:00:00Z",
        updatedAt: "2001-01-02T00:00:00Z",
        colour: "RED",
        count: 0,
        tags: [],
        doc: [],
      },
    }),
  "an update touches updatedAt alone": async ({ prisma }) => {
    const made = await prisma.generated.create({ data: { createdAt: "2001-01-01T00:00:00Z", updatedAt: "2001-01-01T00:00:00Z" } });
    return [made, await prisma.generated.update({ where: { id: made.id }, data: { note: "changed" } })];
  },
  "updateMany touches updatedAt": async ({ prisma }) => {
    await prisma.generated.createMany({ data: [{ updatedAt: "2001-01-01T00:00:00Z" }, { updatedAt: "2001-01-01T00:00:00Z" }] });
    return [await prisma.generated.updateMany({ data: { note: "changed" } }), await prisma.generated.findMany({ orderBy: { id: "asc" } })];
  },
  "one moment for all of a statement": async ({ prisma }) => {
    const rows = await prisma.generated.createManyAndReturn({ data: [{}, {}, {}] });
    return new Set(rows.map((row) => row.updatedAt.getTime())).size;
  },
  "times sort": async ({ prisma }) => {
    const first = await prisma.generated.create({ data: {} });
    await prisma.$queryRaw`select 1 from pg_sleep(0.01)`;
    const second = await prisma.generated.create({ data: {} });
    return [first.uuid7 < second.uuid7, first.ulid < second.ulid, first.createdAt < second.createdAt, first.uuid4 !== second.uuid4];
  },
  "nested rows have defaults": ({ prisma }) =>
    prisma.seat.create({ data: { row: "Z", number: 1, bookings: { create: [{ day: "2001-01-01T00:00:00Z" }, { day: "2001-01-02T00:00:00Z" }] } }, include: { bookings: { orderBy: { day: "asc" } } } }),
  "identifiers beyond 2^53": async ({ prisma }) => [
    await prisma.event.create({ data: { kind: "x", at: "2001-01-01T00:00:00Z" } }),
    await prisma.event.findMany({ orderBy: { id: "desc" } }),
    await prisma.event.findUnique({ where: { id: 9007199254740993n } }),
  ],
  "upsert generates on its way": ({ prisma }) =>
    prisma.generated.upsert({ where: { id: 1 }, create: { note: "created" }, update: { note: "updated" } }),
};
