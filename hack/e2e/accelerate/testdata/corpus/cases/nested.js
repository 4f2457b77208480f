// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const at = "2001-06-01T00:00:00Z";
const all = { posts: { include: { tags: { orderBy: { name: "asc" } }, comments: { orderBy: { id: "asc" } }, categories: { orderBy: { categoryId: "asc" } } }, orderBy: { id: "asc" } }, profile: true };
const titles = { posts: { select: { id: true, title: true }, orderBy: { id: "asc" } } };

export default {
  "create one to one": ({ prisma }) => prisma.user.create({ data: { email: "n@example.org", createdAt: at, profile: { create: { bio: "x", links: { a: [1] } } } }, include: { profile: true } }),
  "create one to one from its other side": ({ prisma }) => prisma.profile.create({ data: { bio: "y", user: { create: { email: "n@example.org", createdAt: at } } }, include: { user: true } }),
  "create deep": ({ prisma }) =>
    prisma.user.create({
      data: {
        email: "n@example.org",
        createdAt: at,
        profile: { create: {} },
        posts: {
          create: [
            { title: "one", tags: { create: { name: "fresh" }, connect: { name: "go" } }, comments: { create: [{ text: "a" }, { text: "b", author: { connect: { id: 1 } } }] } },
            { title: "two", reviewer: { connect: { email: "bob@example.org" } }, categories: { create: { rank: 4, category: { create: { name: "Fresh" } } } } },
          ],
        },
      },
      include: all,
    }),
  "create with createMany": ({ prisma }) =>
    prisma.user.create({ data: { email: "n@example.org", createdAt: at, posts: { createMany: { data: [{ title: "a" }, { title: "b", views: 2 }] } } }, include: titles }),
  "createMany skips duplicates": ({ prisma }) =>
    prisma.post.update({
      where: { id: 1 },
      data: { categories: { createMany: { data: [{ categoryId: 1 }, { categoryId: 3, rank: 9 }], skipDuplicates: true } } },
      include: { categories: { orderBy: { categoryId: "asc" } } },
    }),
  "connect": ({ prisma }) => prisma.post.create({ data: { title: "x", author: { connect: { email: "ada@example.org" } }, reviewer: { connect: { id: 2, active: true } } }, include: { author: true, reviewer: true } }),
  "connect many": ({ prisma }) => prisma.user.update({ where: { id: 4 }, data: { posts: { connect: [{ id: 1 }, { id: 5 }] } }, include: titles }),
  "connect many to many": async ({ prisma }) => [
    await prisma.post.update({ where: { id: 3 }, data: { tags: { connect: [{ name: "go" }, { name: "sql" }, { name: "go" }] } }, include: { tags: { orderBy: { name: "asc" } } } }),
    await prisma.post.update({ where: { id: 3 }, data: { tags: { connect: { name: "sql" }, disconnect: { name: "go" } } }, include: { tags: true } }),
  ],
  "connect one to one takes from another": async ({ prisma }) => [
    await prisma.user.update({ where: { id: 3 }, data: { profile: { connect: { id: 2 } } }, include: { profile: true } }),
    await prisma.user.findUnique({ where: { id: 2 }, include: { profile: true } }),
  ],
  "connectOrCreate": async ({ prisma }) => [
    await prisma.post.create({
      data: { title: "x", author: { connectOrCreate: { where: { email: "n@example.org" }, create: { email: "n@example.org", createdAt: at } } }, tags: { connectOrCreate: [{ where: { name: "go" }, create: { name: "go" } }, { where: { name: "made" }, create: { name: "made" } }] } },
      include: { author: true, tags: { orderBy: { name: "asc" } } },
    }),
    await prisma.post.create({ data: { title: "y", author: { connectOrCreate: { where: { email: "n@example.org" }, create: { email: "other@example.org" } } } }, include: { author: true } }),
  ],
  "connectOrCreate in an update": ({ prisma }) =>
    prisma.user.update({ where: { id: 5 }, data: { posts: { connectOrCreate: [{ where: { id: 6 }, create: { title: "no" } }, { where: { id: 66 }, create: { title: "yes" } }] } }, include: titles }),
  "disconnect": async ({ prisma }) => [
    await prisma.post.update({ where: { id: 1 }, data: { reviewer: { disconnect: true } } }),
    await prisma.post.update({ where: { id: 4 }, data: { tags: { disconnect: [{ name: "go" }, { name: "sql" }] } }, include: { tags: true } }),
    await prisma.post.update({ where: { id: 3 }, data: { reviewer: { disconnect: { name: "Nobody" } } } }),
    await prisma.user.update({ where: { id: 1 }, data: { reviews: { disconnect: [{ id: 4 }] } }, include: { reviews: true } }),
  ],
  "set": async ({ prisma }) => [
    await prisma.post.update({ where: { id: 1 }, data: { tags: { set: [{ name: "sql" }, { name: "unused" }] } }, include: { tags: { orderBy: { name: "asc" } } } }),
    await prisma.post.update({ where: { id: 1 }, data: { tags: { set: [] } }, include: { tags: true } }),
    await prisma.user.update({ where: { id: 1 }, data: { reviews: { set: [{ id: 1 }, { id: 2 }] } }, include: { reviews: { orderBy: { id: "asc" } } } }),
  ],
  "update to one": async ({ prisma }) => [
    await prisma.user.update({ where: { id: 1 }, data: { profile: { update: { bio: "changed" } } }, include: { profile: true } }),
    await prisma.user.update({ where: { id: 1 }, data: { profile: { update: { where: { bio: "changed" }, data: { bio: "again" } } } }, include: { profile: true } }),
    await prisma.post.update({ where: { id: 1 }, data: { author: { update: { name: "Countess" } } }, include: { author: true } }),
  ],
  "update to many": ({ prisma }) =>
    prisma.user.update({
      where: { id: 1 },
      data: { posts: { update: [{ where: { id: 1 }, data: { title: "x", comments: { update: { where: { id: 1 }, data: { text: "y" } } } } }, { where: { id: 2, published: true }, data: { views: { increment: 5 } } }] } },
      include: all,
    }),
  "updateMany": ({ prisma }) => prisma.user.update({ where: { id: 1 }, data: { posts: { updateMany: [{ where: { published: false }, data: { title: "later" } }, { where: {}, data: { views: 1 } }] } }, include: { posts: { orderBy: { id: "asc" } } } }),
  "upsert to one": async ({ prisma }) => [
    await prisma.user.update({ where: { id: 1 }, data: { profile: { upsert: { create: { bio: "created" }, update: { bio: "updated" } } } }, include: { profile: true } }),
    await prisma.user.update({ where: { id: 3 }, data: { profile: { upsert: { create: { bio: "created" }, update: { bio: "updated" } } } }, include: { profile: true } }),
  ],
  "upsert to many": ({ prisma }) =>
    prisma.user.update({
      where: { id: 2 },
      data: { posts: { upsert: [{ where: { id: 4 }, create: { title: "created" }, update: { title: "updated" } }, { where: { id: 44 }, create: { title: "created" }, update: { title: "updated" } }] } },
      include: titles,
    }),
  "delete to one": ({ prisma }) => prisma.user.update({ where: { id: 1 }, data: { profile: { delete: true } }, include: { profile: true } }),
  "delete to many": ({ prisma }) => prisma.post.update({ where: { id: 1 }, data: { comments: { delete: [{ id: 1 }, { id: 3 }] } }, include: { comments: true } }),
  "deleteMany": ({ prisma }) => prisma.post.update({ where: { id: 1 }, data: { comments: { deleteMany: [{ authorId: null }, { text: "First" }] } }, include: { comments: true } }),
  "delete many to many": ({ prisma }) => prisma.post.update({ where: { id: 5 }, data: { tags: { delete: { name: "sql" } } }, include: { tags: true } }),
  "everything at once": ({ prisma }) =>
    prisma.post.update({
      where: { id: 1 },
      data: {
        title: "all",
        comments: { create: { text: "new" }, delete: { id: 1 }, update: { where: { id: 2 }, data: { text: "changed" } }, connect: { id: 4 } },
        tags: { connect: { name: "sql" }, create: { name: "newer" }, disconnect: { name: "go" } },
        categories: { upsert: { where: { postId_categoryId: { postId: 1, categoryId: 1 } }, create: { categoryId: 1 }, update: { rank: 99 } } },
        reviewer: { create: { email: "r@example.org", createdAt: at } },
      },
      include: { comments: { orderBy: { id: "asc" } }, tags: { orderBy: { name: "asc" } }, categories: { orderBy: { categoryId: "asc" } }, reviewer: true },
    }),
  "relations to itself": async ({ prisma }) => [
    await prisma.person.create({
      data: { name: "New", boss: { connect: { name: "Leaf" } }, staff: { create: [{ name: "Under" }] }, follows: { connect: [{ id: 1 }], create: { name: "Followed" } }, spouse: { connect: { id: 1 } } },
      include: { boss: true, staff: true, follows: { orderBy: { id: "asc" } }, spouse: true },
    }),
    await prisma.person.update({ where: { id: 1 }, data: { followers: { set: [{ id: 5 }] }, staff: { disconnect: { id: 3 } }, married: { disconnect: true } }, include: { followers: true, staff: true, married: true } }),
  ],
  "composite keys": async ({ prisma }) => [
    await prisma.seat.create({ data: { row: "C", number: 1, bookings: { createMany: { data: [{ day: "2001-01-01T00:00:00Z", id: "00000000-0000-4000-8000-0000000000dd" }] } } }, include: { bookings: true } }),
    await prisma.booking.update({ where: { id: "00000000-0000-4000-8000-00000000000a" }, data: { seat: { connect: { row_number: { row: "B", number: 1 } } }, day: "2001-07-01T00:00:00Z" }, include: { seat: true } }),
    await prisma.seat.update({ where: { row_number: { row: "B", number: 1 } }, data: { bookings: { updateMany: { where: {}, data: { guest: "same" } } } }, include: { bookings: { orderBy: { day: "asc" } } } }),
  ],
  "a failure undoes the whole write": async ({ prisma, attempt }) => [
    await attempt(prisma.user.create({ data: { email: "n@example.org", posts: { create: [{ title: "fine" }] }, profile: { create: { id: 1 } } } })),
    await prisma.user.count(),
    await prisma.post.count(),
  ],
};
