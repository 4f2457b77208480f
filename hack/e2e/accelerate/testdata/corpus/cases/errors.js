// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// Those that Prisma knows, and some that it does not.
const states = [
  ...["22001", "22003", "22007", "22008", "22012", "22021", "22026", "22P02", "22P03", "22P05", "23000", "23001", "23502", "23503", "23505", "23514", "23P01"],
  ...["25001", "25006", "25P02", "28000", "28P01", "2BP01", "3D000", "3F000", "40001", "40003", "40P01", "42501", "42601", "42701", "42703", "42704", "42883", "42P01", "42P05", "42P18"],
  ...["53000", "53100", "53300", "54001", "55000", "55P03", "55P04", "57014", "58P01", "0A000", "P0001", "P0002", "XX000", "ZZ999"],
];

export default {
  "P2000 a value is too long": async ({ prisma, attempt }) => [
    await attempt(prisma.native.update({ where: { id: 1 }, data: { varchar: "123456789" } })),
    await attempt(prisma.native.create({ data: { id: 10, char: "123456" } })),
    await attempt(prisma.native.updateMany({ data: { bit: "10101" } })),
  ],
  "P2002 a unique field": async ({ prisma, attempt }) => [
    await attempt(prisma.user.create({ data: { email: "ada@example.org" } })),
    await attempt(prisma.user.update({ where: { id: 2 }, data: { email: "ada@example.org" } })),
    await attempt(prisma.user.createMany({ data: [{ email: "x@example.org" }, { email: "x@example.org" }] })),
    await attempt(prisma.account.create({ data: { id: "a", balance: 0 } })),
    await attempt(prisma.user.updateMany({ data: { email: "same@example.org" } })),
  ],
  "P2002 a composite key and a composite unique": async ({ prisma, attempt }) => [
    await attempt(prisma.seat.create({ data: { row: "A", number: 1 } })),
    await attempt(prisma.booking.create({ data: { row: "A", number: 1, day: "2001-05-01T00:00:00Z" } })),
    await attempt(prisma.postInCategory.createMany({ data: [{ postId: 1, categoryId: 1 }] })),
    await attempt(prisma.event.create({ data: { kind: "stop", at: "2001-02-03T05:00:00Z" } })),
  ],
  "P2002 in a nested write": ({ prisma, attempt }) => attempt(prisma.post.update({ where: { id: 1 }, data: { tags: { create: { name: "go" } } } })),
  "P2002 a mapped field": ({ prisma, attempt }) => attempt(prisma.profile.create({ data: { userId: 1 } })),
  "P2003 a foreign key": async ({ prisma, attempt }) => [
    await attempt(prisma.post.create({ data: { title: "x", authorId: 99 } })),
    await attempt(prisma.booking.create({ data: { row: "Z", number: 9, day: "2001-01-01T00:00:00Z" } })),
    await attempt(prisma.post.updateMany({ data: { reviewerId: 99 } })),
    await attempt(prisma.person.create({ data: { name: "x", bossId: 99 } })),
  ],
  "P2003 or P2014 a row that others need": async ({ prisma, attempt }) => [
    await attempt(prisma.user.delete({ where: { id: 1 } })),
    await attempt(prisma.user.deleteMany({ where: { id: 1 } })),
    await attempt(prisma.seat.delete({ where: { row_number: { row: "A", number: 1 } } })),
    await attempt(prisma.person.delete({ where: { id: 1 } })),
  ],
  "P2004 or so, a check": async ({ prisma, attempt }) => [
    await attempt(prisma.user.update({ where: { id: 1 }, data: { age: -1 } })),
    await attempt(prisma.user.create({ data: { email: "n@example.org", age: -5 } })),
    await attempt(prisma.user.updateMany({ data: { age: { decrement: 100 } } })),
  ],
  "P2010 raw queries": async ({ prisma, attempt }) => [
    await attempt(prisma.$queryRaw`select * from nowhere`),
    await attempt(prisma.$queryRaw`selec 1`),
    await attempt(prisma.$executeRaw`insert into accounts values ('a', 1)`),
    await attempt(prisma.$queryRaw`select 1 / 0`),
    await attempt(prisma.$queryRaw`select ${"x"}::int`),
    await attempt(prisma.$executeRaw`insert into profiles (user_id) values (99)`),
    await attempt(prisma.$executeRaw`update users set email = null`),
    await attempt(prisma.$queryRaw`select missing from users`),
    await attempt(prisma.$queryRawUnsafe("")),
    await attempt(prisma.$queryRawUnsafe("select $1::int + $2::int as x", 1)),
  ],
  "P2010 what a function raises": async ({ prisma, attempt }) => [
    await attempt(prisma.$executeRaw`do $$ begin raise exception 'custom' using errcode = 'P0001', detail = 'a detail', hint = 'a hint'; end $$`),
    await attempt(prisma.$executeRaw`do $$ begin raise exception using errcode = '22023', message = 'two
lines'; end $$`),
    await attempt(prisma.$executeRaw`do $$ begin raise exception using errcode = '40001', message = 'try again'; end $$`),
    await attempt(prisma.$executeRaw`do $$ begin raise exception using errcode = '53300', message = 'too many'; end $$`),
    await attempt(prisma.$executeRaw`do $$ begin raise exception using errcode = '42501', message = 'not allowed'; end $$`),
  ],
  "P2011 null where none may be": async ({ prisma, attempt }) => [
    await attempt(prisma.$executeRaw`insert into accounts (id) values ('n')`),
    await attempt(prisma.user.update({ where: { id: 2 }, data: { posts: { set: [] } } })),
    await attempt(prisma.mistyped.findMany({ where: { id: { in: [1] } }, select: { id: true, required: true } })),
  ],
  "P2014 a relation that is required": async ({ prisma, attempt }) => [
    await attempt(prisma.user.update({ where: { id: 1 }, data: { profile: { disconnect: true } } })),
    await attempt(prisma.user.update({ where: { id: 1 }, data: { posts: { disconnect: { id: 1 } } } })),
    await attempt(prisma.user.update({ where: { id: 1 }, data: { posts: { set: [{ id: 4 }] } } })),
    await attempt(prisma.user.update({ where: { id: 1 }, data: { profile: { create: { bio: "second" } } } })),
    await attempt(prisma.user.update({ where: { id: 1 }, data: { profile: { connect: { id: 2 } } } })),
  ],
  "P2017 records that are not connected": async ({ prisma, attempt }) => [
    await attempt(prisma.user.update({ where: { id: 2 }, data: { posts: { delete: { id: 1 } } } })),
    await attempt(prisma.user.update({ where: { id: 3 }, data: { profile: { delete: true } } })),
    await attempt(prisma.post.update({ where: { id: 3 }, data: { tags: { delete: { name: "go" } } } })),
    await attempt(prisma.post.update({ where: { id: 1 }, data: { comments: { delete: [{ id: 1 }, { id: 4 }] } } })),
  ],
  "P2018 or P2025 records to connect that are not there": async ({ prisma, attempt }) => [
    await attempt(prisma.user.update({ where: { id: 1 }, data: { posts: { connect: { id: 99 } } } })),
    await attempt(prisma.post.update({ where: { id: 1 }, data: { tags: { connect: [{ name: "go" }, { name: "none" }] } } })),
    await attempt(prisma.post.create({ data: { title: "x", author: { connect: { id: 99 } } } })),
    await attempt(prisma.user.update({ where: { id: 1 }, data: { profile: { connect: { id: 99 } } } })),
    await attempt(prisma.post.update({ where: { id: 1 }, data: { tags: { set: [{ name: "none" }] } } })),
    await attempt(prisma.user.create({ data: { email: "n@example.org", posts: { connect: [{ id: 1 }, { id: 99 }] } } })),
  ],
  "P2020 a value out of range": async ({ prisma, attempt }) => [
    await attempt(prisma.native.update({ where: { id: 1 }, data: { smallint: 32768 } })),
    await attempt(prisma.native.update({ where: { id: 3 }, data: { integer: { increment: 1 } } })),
    await attempt(prisma.native.update({ where: { id: 3 }, data: { bigint: { increment: 1 } } })),
    await attempt(prisma.native.update({ where: { id: 1 }, data: { decimal: "123456789.00" } })),
    await attempt(prisma.scalar.update({ where: { id: 3 }, data: { float: { multiply: 10 } } })),
    await attempt(prisma.scalar.update({ where: { id: 1 }, data: { int: { divide: 0 } } })),
  ],
  "P2021 a table that is not there": async ({ prisma, attempt }) => [await attempt(prisma.ghost.findMany()), await attempt(prisma.ghost.create({ data: { id: 1 } })), await attempt(prisma.ghost.deleteMany())],
  "P2022 a column that is not there": async ({ prisma, attempt }) => [await attempt(prisma.phantom.findMany()), await attempt(prisma.phantom.create({ data: { id: 2, missing: "x" } })), await attempt(prisma.phantom.updateMany({ data: { missing: "x" } }))],
  "P2023 or P2032 a column of another type": async ({ prisma, attempt }) => [
    await attempt(prisma.mistyped.findUnique({ where: { id: 1 } })),
    await attempt(prisma.mistyped.findUnique({ where: { id: 2 } })),
    await attempt(prisma.mistyped.findUnique({ where: { id: 3 } })),
    await attempt(prisma.mistyped.findMany({ where: { number: 3 } })),
    await attempt(prisma.mistyped.aggregate({ _sum: { number: true } })),
  ],
  "a value that its type does not take": async ({ prisma, attempt }) => [
    await attempt(prisma.native.create({ data: { id: 10, uuid: "not one" } })),
    await attempt(prisma.native.create({ data: { id: 10, inet: "not one" } })),
    await attempt(prisma.native.create({ data: { id: 10, xml: "<a>" } })),
    await attempt(prisma.native.create({ data: { id: 10, bit: "2" } })),
    await attempt(prisma.native.findMany({ where: { uuid: "not one" } })),
    await attempt(prisma.scalar.create({ data: { id: 10, text: "a\u0000b" } })),
    await attempt(prisma.scalar.create({ data: { id: 10, doc: { a: "\u0000" } } })),
  ],
  "an enum's value that the server does not know": async ({ prisma, attempt }) => [await attempt(prisma.$executeRaw`update scalars set colour = ${"BLUE"}::colour_type`), await attempt(prisma.$queryRaw`select * from scalars where colour = ${"RED"}`)],
  "P2025 a record that is not there": async ({ prisma, attempt }) => [
    await attempt(prisma.user.update({ where: { id: 99 }, data: { name: "x" } })),
    await attempt(prisma.user.delete({ where: { id: 99 } })),
    await attempt(prisma.user.findUniqueOrThrow({ where: { id: 99 } })),
    await attempt(prisma.user.findFirstOrThrow({ where: { name: "Nobody" } })),
    await attempt(prisma.user.update({ where: { id: 1 }, data: { posts: { update: { where: { id: 4 }, data: { title: "x" } } } } })),
    await attempt(prisma.user.update({ where: { id: 3 }, data: { profile: { update: { bio: "x" } } } })),
    await attempt(prisma.user.update({ where: { id: 99 }, data: { posts: { create: { title: "x" } } } })),
    await attempt(prisma.user.update({ where: { id: 1 }, data: { posts: { upsert: { where: { id: 4 }, create: { id: 4, title: "x" }, update: { title: "x" } } } } })),
  ],
  "every state that the server can be in": async ({ prisma, attempt }) => {
    const failures = [];
    for (const [id, state] of states.entries()) failures.push([state, await attempt(prisma.alarm.create({ data: { id, state } }))]);
    return failures;
  },
  "every state that the server can be in, by raw queries": async ({ prisma, attempt }) => {
    const failures = [];
    for (const [id, state] of states.entries()) failures.push([state, await attempt(prisma.$executeRaw`insert into alarms values (${id}, ${state})`)]);
    return failures;
  },
  "of the client itself": async ({ prisma, attempt }) => [
    await attempt(prisma.user.findMany({ where: { nothing: 1 } })),
    await attempt(prisma.user.create({ data: { id: "x" } })),
    await attempt(prisma.user.findUnique({ where: {} })),
  ],
  "a statement that the server cancels": async ({ prisma, attempt }) =>
    attempt(
      prisma.$transaction(async (tx) => {
        await tx.$executeRaw`set local statement_timeout = 50`;
        await tx.$queryRaw`select 1 from pg_sleep(5)`;
      }),
    ),
  "a lock that is not to be had": async ({ prisma, attempt }) =>
    prisma.$transaction(async (tx) => {
      await tx.$queryRaw`select * from accounts where id = 'a' for update`;
      return attempt(prisma.$transaction((other) => other.$queryRaw`select * from accounts where id = 'a' for update nowait`));
    }),
};
