// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

export default {
  "reads": ({ prisma }) => prisma.$transaction([prisma.user.count(), prisma.user.findUnique({ where: { id: 1 } }), prisma.post.findMany({ select: { id: true }, orderBy: { id: "asc" } })]),
  "writes that see each other": ({ prisma }) =>
    prisma.$transaction([
      prisma.account.create({ data: { id: "n", balance: 1 } }),
      prisma.account.update({ where: { id: "n" }, data: { balance: { increment: 1 } } }),
      prisma.account.findMany({ orderBy: { id: "asc" } }),
      prisma.account.delete({ where: { id: "n" } }),
    ]),
  "a failure undoes what went before": async ({ prisma, attempt }) => [
    await attempt(prisma.$transaction([prisma.account.update({ where: { id: "a" }, data: { balance: 0 } }), prisma.account.create({ data: { id: "b", balance: 1 } }), prisma.account.deleteMany()])),
    await prisma.account.findMany({ orderBy: { id: "asc" } }),
  ],
  "a record that is not there": async ({ prisma, attempt }) => [
    await attempt(prisma.$transaction([prisma.account.update({ where: { id: "a" }, data: { balance: 0 } }), prisma.account.update({ where: { id: "nobody" }, data: { balance: 0 } })])),
    await prisma.account.findUnique({ where: { id: "a" } }),
  ],
  "raw queries among others": ({ prisma }) =>
    prisma.$transaction([prisma.$executeRaw`update accounts set balance = balance - 10 where id = 'a'`, prisma.$queryRaw`select balance from accounts where id = 'a'`, prisma.account.findUnique({ where: { id: "a" } })]),
  "with an isolation level": ({ prisma }) => prisma.$transaction([prisma.$queryRaw`show transaction_isolation`, prisma.account.count()], { isolationLevel: "Serializable" }),
  "nested writes": ({ prisma }) =>
    prisma.$transaction([
      prisma.post.create({ data: { title: "x", author: { connect: { id: 1 } }, tags: { create: { name: "batch" } } }, include: { tags: true } }),
      prisma.tag.findUnique({ where: { name: "batch" }, include: { posts: { select: { title: true } } } }),
    ]),
  "empty": ({ prisma }) => prisma.$transaction([]),
  "findUnique many": ({ prisma }) => prisma.$transaction([1, 2, 99].map((id) => prisma.user.findUnique({ where: { id }, select: { name: true } }))),
};
