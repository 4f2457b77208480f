// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const each = async (prisma, ...conditions) => {
  const found = [];
  for (const where of conditions) {
    found.push((await prisma.document.findMany({ where, select: { id: true }, orderBy: { id: "asc" } })).map(({ id }) => id));
  }
  return found;
};

export default {
  "documents are read": ({ prisma }) => prisma.document.findMany({ orderBy: { id: "asc" } }),
  "paths": ({ prisma }) =>
    each(
      prisma,
      { data: { path: ["name"], equals: "one" } },
      { data: { path: ["size", "w"], equals: 3 } },
      { data: { path: ["size", "w"], gt: 2, lte: 10 } },
      { data: { path: ["on"], equals: true } },
      { data: { path: ["2", "deep", "0"], equals: "er" } },
      { data: { path: ["size"], equals: { w: 3 } } },
      { NOT: { data: { path: ["name"], equals: "one" } } },
    ),
  "texts in documents": ({ prisma }) =>
    each(
      prisma,
      { data: { path: ["name"], string_contains: "n" } },
      { data: { path: ["name"], string_starts_with: "t" } },
      { data: { path: ["name"], string_ends_with: "e" } },
      { data: { path: ["name"], string_contains: "NE", mode: "insensitive" } },
      { data: { string_contains: "text" } },
    ),
  "arrays in documents": ({ prisma }) =>
    each(
      prisma,
      { data: { path: ["tags"], array_contains: ["x"] } },
      { data: { path: ["tags"], array_contains: "y" } },
      { data: { path: ["tags"], array_starts_with: "x" } },
      { data: { path: ["tags"], array_ends_with: "y" } },
      { data: { array_contains: ["x"] } },
    ),
  "equality of whole documents": ({ prisma }) => each(prisma, { data: { equals: "just text" } }, { data: { equals: 17.5 } }, { data: { not: 17.5 } }, { meta: { equals: { rev: 1 } } }, { meta: { equals: [] } }),
  "the nulls of documents": ({ prisma, Prisma }) =>
    each(prisma, { meta: { equals: Prisma.DbNull } }, { meta: { equals: Prisma.JsonNull } }, { meta: { equals: Prisma.AnyNull } }, { meta: { not: Prisma.DbNull } }, { data: { path: ["none"], equals: Prisma.JsonNull } }),
  "the nulls are written": async ({ prisma, Prisma }) => {
    await prisma.document.create({ data: { id: 10, data: Prisma.JsonNull, meta: Prisma.DbNull } });
    await prisma.document.create({ data: { id: 11, data: { a: null }, meta: Prisma.JsonNull } });
    return prisma.$queryRaw`select id, data::text, meta::text, meta is null as none from documents where id > 9 order by id`;
  },
  "odd documents come back as they went": async ({ prisma }) => {
    const values = [0, -1.5, 1e300, "", "\\ \" \n \u0001 \u2028 é 🎉", true, [], {}, [[[]]], { "": 1, __proto__x: 2, "a.b": { "c\"d": [null] } }, { $type: "DateTime", value: "x" }, { prisma__type: "param", prisma__value: { name: "x" } }];
    await prisma.document.createMany({ data: values.map((data, i) => ({ id: 20 + i, data })) });
    return prisma.document.findMany({ where: { id: { gte: 20 } }, select: { data: true }, orderBy: { id: "asc" } });
  },
  "large numbers in documents": async ({ prisma }) => {
    await prisma.$executeRaw`insert into documents values (30, '{"big": 123456789012345678901234567890, "small": 0.1000, "e": 1E5}')`;
    return [await prisma.document.findUnique({ where: { id: 30 } }), await prisma.document.findUnique({ where: { id: 5 } })];
  },
  "keys of documents keep their order": async ({ prisma }) => {
    await prisma.native.update({ where: { id: 1 }, data: { json: { z: 1, a: { y: 2, b: 3 }, "1": 0 } } });
    return prisma.native.findUnique({ where: { id: 1 }, select: { json: true, jsonb: true } });
  },
  "documents in relations": ({ prisma }) => prisma.user.findMany({ where: { profile: { links: { path: ["site"], equals: "ada.example" } } }, include: { profile: true } }),
  "a document is replaced": async ({ prisma, Prisma }) => [
    await prisma.document.update({ where: { id: 1 }, data: { data: [1, { a: "b" }], meta: Prisma.DbNull } }),
    await prisma.document.updateMany({ where: { id: { gt: 2 } }, data: { meta: { all: true } } }),
    await prisma.document.findMany({ orderBy: { id: "asc" } }),
  ],
};
