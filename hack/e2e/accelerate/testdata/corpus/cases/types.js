// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const scalar = (Prisma) => ({
  id: 10,
  text: "new\t'text' \u{1F600}",
  flag: false,
  int: -7,
  big: 9223372036854775807n,
  float: 0.1 + 0.2,
  decimal: new Prisma.Decimal("123456789012345678901234567890.000000000000000000000000000001"),
  at: new Date("2010-11-12T13:14:15.167Z"),
  doc: { z: 1, a: [true, null, 1.5, "x"], "10": "ten", "9": "nine", nested: { deep: { deeper: [] } } },
  bytes: new Uint8Array([0, 1, 254, 255]),
  colour: "DARK_BLUE",
});

const native = {
  id: 10,
  text: "text",
  char: "abc",
  varchar: "12345678",
  bit: "0110",
  varbit: "011",
  uuid: "00000000-0000-4000-8000-0000000000aa",
  xml: "<b>2</b>",
  inet: "10.1.2.3",
  citext: "MiXed",
  smallint: -5,
  integer: 6,
  oid: 7,
  bigint: -8n,
  real: 0.5,
  double: 1e-300,
  decimal: "12.34",
  timestamp: "2010-11-12T13:14:15.167Z",
  seconds: "2010-11-12T13:14:15.500Z",
  timestamptz: "2010-11-12T13:14:15.167+05:30",
  date: "2010-11-12T00:00:00.000Z",
  time: "1970-01-01T13:14:15.167Z",
  timetz: "1970-01-01T13:14:15.167Z",
  json: { b: [1.5, "x"], a: null },
  jsonb: [{ b: 2, a: 1 }],
  bytea: new Uint8Array([9]),
};

const list = {
  id: 10,
  texts: ["x", "", 'with "quotes", commas and \\', "NULL", "{}", "日本"],
  flags: [true, false],
  ints: [0, -1, 2147483647],
  bigs: [-9223372036854775808n, 5n],
  floats: [1.5, -2, 1e100],
  decimals: ["1.10", "-0.000000000000000000000000000001"],
  ats: ["2010-11-12T13:14:15.167Z"],
  days: ["2010-11-12T00:00:00.000Z"],
  times: ["1970-01-01T13:14:15.000Z"],
  docs: [{ a: [1, "b"] }, [], "text", 5],
  bytes: [new Uint8Array([1, 2]), new Uint8Array([])],
  colours: ["DARK_BLUE", "RED"],
  uuids: ["00000000-0000-4000-8000-0000000000aa"],
};

export default {
  "scalars are read": ({ prisma }) => prisma.scalar.findMany({ orderBy: { id: "asc" } }),
  "scalars are written": ({ prisma, Prisma }) => prisma.scalar.create({ data: scalar(Prisma) }),
  "scalars are written and read": async ({ prisma, Prisma }) => {
    await prisma.scalar.createMany({ data: [scalar(Prisma), { id: 11 }] });
    return prisma.scalar.findMany({ where: { id: { gte: 10 } }, orderBy: { id: "asc" } });
  },
  "scalars are updated to null and back": async ({ prisma, Prisma }) => {
    const { id, doc, ...rest } = scalar(Prisma);
    const nulls = Object.fromEntries(Object.keys(rest).map((key) => [key, null]));
    return [
      await prisma.scalar.update({ where: { id: 1 }, data: { ...nulls, doc: Prisma.DbNull } }),
      await prisma.scalar.update({ where: { id: 1 }, data: { ...rest, doc } }),
    ];
  },
  "scalars filter by equality": async ({ prisma, Prisma }) => {
    const found = [];
    const { id, doc, ...rest } = scalar(Prisma);
    await prisma.scalar.create({ data: { id, doc, ...rest } });
    for (const [key, value] of Object.entries(rest)) {
      found.push([key, await prisma.scalar.findMany({ where: { [key]: value }, select: { id: true }, orderBy: { id: "asc" } })]);
    }
    return found;
  },
  "numbers are incremented, multiplied and divided": async ({ prisma }) => [
    await prisma.scalar.update({ where: { id: 1 }, data: { int: { increment: 1 }, big: { decrement: 3n }, float: { multiply: 2 }, decimal: { divide: 4 } } }),
    await prisma.scalar.update({ where: { id: 1 }, data: { int: { multiply: -2 }, big: { increment: 1 }, float: { divide: 3 }, decimal: { increment: "0.1" } } }),
  ],
  "floats keep their digits": async ({ prisma }) => {
    const values = [0.1, 1 / 3, 1e21, 1e-7, 123456789.123456789, 5e-324, 1.7976931348623157e308, -0];
    await prisma.scalar.createMany({ data: values.map((float, i) => ({ id: 20 + i, float })) });
    return prisma.scalar.findMany({ where: { id: { gte: 20 } }, select: { float: true }, orderBy: { id: "asc" } });
  },
  "decimals keep their digits": async ({ prisma }) => {
    const values = ["0", "-0.5", "1e10", "1e-20", "12345678901234567890.12345678901234567890", "0.10"];
    await prisma.scalar.createMany({ data: values.map((decimal, i) => ({ id: 20 + i, decimal })) });
    return prisma.scalar.findMany({ where: { id: { gte: 20 } }, select: { decimal: true }, orderBy: { id: "asc" } });
  },
  "dates keep their milliseconds": async ({ prisma }) => {
    const values = ["1970-01-01T00:00:00.001Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "1900-02-28T23:59:59.990+01:00", "2000-02-29T12:00:00-11:00"];
    await prisma.scalar.createMany({ data: values.map((at, i) => ({ id: 20 + i, at })) });
    return prisma.scalar.findMany({ where: { id: { gte: 20 } }, select: { at: true }, orderBy: { id: "asc" } });
  },
  "large texts and bytes": async ({ prisma }) => {
    await prisma.scalar.create({ data: { id: 20, text: "é".repeat(300000), bytes: new Uint8Array(300000).fill(7) } });
    const { text, bytes } = await prisma.scalar.findUniqueOrThrow({ where: { id: 20 } });
    return [text.length, bytes.length, text.slice(0, 3), bytes.slice(0, 3)];
  },
  "native types are read": ({ prisma }) => prisma.native.findMany({ where: { id: { in: [1, 4] } }, orderBy: { id: "asc" } }),
  "native types at their least": ({ prisma }) => prisma.native.findUnique({ where: { id: 2 } }),
  "native types at their most": ({ prisma }) => prisma.native.findUnique({ where: { id: 3 } }),
  "native types are written": ({ prisma }) => prisma.native.create({ data: native }),
  "native types are written many at a time": ({ prisma }) => prisma.native.createManyAndReturn({ data: [native, { id: 11 }] }),
  "native types are updated": ({ prisma }) => prisma.native.update({ where: { id: 1 }, data: native }),
  "native types filter by equality": async ({ prisma }) => {
    const { id, xml, json, jsonb, ...rest } = native;
    await prisma.native.create({ data: native });
    const found = [];
    for (const [key, value] of Object.entries(rest)) {
      found.push([key, await prisma.native.findMany({ where: { [key]: value }, select: { id: true }, orderBy: { id: "asc" } })]);
    }
    return found;
  },
  "native types filter by comparison and lists": ({ prisma }) =>
    prisma.native.findMany({
      where: {
        date: { gte: "2001-02-03T00:00:00Z", lt: "2001-02-04T00:00:00Z" },
        time: { lt: "1970-01-01T05:00:00Z" },
        timestamptz: { in: ["2001-02-03T02:05:06.123Z"], not: "2001-01-01T00:00:00Z" },
      },
      select: { id: true },
    }),
  "money is read": async ({ prisma, attempt }) => Promise.all([1, 2, 3, 4, 5].map((id) => attempt(prisma.price.findFirst({ where: { id } })))),
  "money is written": async ({ prisma, attempt }) => [
    await attempt(prisma.price.createMany({ data: [{ id: 10, money: "9.99" }, { id: 11, money: "-1234567.5" }] })),
    await attempt(prisma.price.findMany({ where: { money: "9.99" }, select: { id: true } })),
    await attempt(prisma.price.update({ where: { id: 1 }, data: { money: { increment: 1 } }, select: { id: true } })),
  ],
  "citext ignores case": ({ prisma }) => prisma.native.findMany({ where: { citext: "CITEXT" }, select: { id: true, citext: true } }),
  "lists are read": ({ prisma }) => prisma.list.findMany({ orderBy: { id: "asc" } }),
  "lists are written": ({ prisma }) => prisma.list.create({ data: list }),
  "lists are written many at a time": ({ prisma }) => prisma.list.createManyAndReturn({ data: [list, { id: 11 }, { id: 12, ints: [1] }] }),
  "lists are set, pushed and emptied": async ({ prisma }) => [
    await prisma.list.update({ where: { id: 1 }, data: { texts: { push: "z" }, ints: { push: [8, 9] }, colours: { set: ["GREEN"] }, docs: { push: { x: 1 } } } }),
    await prisma.list.update({ where: { id: 1 }, data: { texts: [], bigs: { set: [] }, decimals: { push: "3.3" }, bytes: { push: new Uint8Array([5]) } } }),
  ],
  "lists filter": async ({ prisma }) => {
    const ids = (where) => prisma.list.findMany({ where, select: { id: true }, orderBy: { id: "asc" } });
    return [
      await ids({ texts: { has: "b,c" } }),
      await ids({ ints: { hasEvery: [1, -2] } }),
      await ids({ ints: { hasSome: [5, 1] } }),
      await ids({ colours: { has: "DARK_BLUE" } }),
      await ids({ bigs: { isEmpty: true } }),
      await ids({ texts: { equals: ["日本", "NULL", "null"] } }),
      await ids({ uuids: { has: "00000000-0000-4000-8000-000000000001" } }),
      await ids({ decimals: { has: "1.1" } }),
      await ids({ days: { has: "2001-02-03T00:00:00Z" } }),
    ];
  },
  "enums are written by their names and stored by their values": async ({ prisma }) => [
    await prisma.scalar.update({ where: { id: 4 }, data: { colour: "DARK_BLUE" } }),
    await prisma.$queryRaw`select colour::text from scalars where id = 4`,
    await prisma.scalar.findMany({ where: { colour: { in: ["DARK_BLUE", "GREEN"] } }, select: { id: true, colour: true }, orderBy: { id: "asc" } }),
    await prisma.scalar.findMany({ where: { colour: { not: "DARK_BLUE" } }, select: { id: true }, orderBy: { colour: "desc" } }),
  ],
  "a wide row nested in another": ({ prisma }) =>
    prisma.booking.findMany({ include: { seat: { include: { bookings: { orderBy: { day: "desc" } } } } }, orderBy: { id: "asc" } }),
};
