// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

const row = (prisma, columns) => prisma.$queryRawUnsafe(`select ${columns}`);

export default {
  "numbers": ({ prisma }) => row(prisma, "1::int2 as i2, 2::int4 as i4, 9007199254740993::int8 as i8, 1.5::float4 as f4, 0.1::float8 as f8, 12.340::numeric as n, 1e40::numeric as large, true as yes, false as no"),
  "object identifiers": ({ prisma, attempt }) => attempt(row(prisma, "3::oid as oid, '{4,5}'::oid[] as oids")),
  "money": ({ prisma, attempt }) => Promise.all(["'12.34'::money", "'-1234.5'::money", "'{-1.5}'::money[]"].map((it) => attempt(row(prisma, `${it} as it`)))),
  "odd numbers": ({ prisma, attempt }) => attempt(row(prisma, "'NaN'::float8 as nan, 'Infinity'::float8 as inf, '-Infinity'::float4 as neg, '-0'::float8 as zero")),
  "a numeric that is none": ({ prisma, attempt }) => attempt(row(prisma, "'NaN'::numeric as nan")),
  "texts": ({ prisma }) => row(prisma, "'a'::text as t, 'b'::varchar as v, 'c'::char(3) as c, 'd'::name as n, 'e'::\"char\" as ch, 'F'::citext as ci, 'RED'::colour_type as colour, null as nothing, '' as empty, 'é🎉' as wide"),
  "moments": ({ prisma }) =>
    row(prisma, "'2001-02-03'::date as d, '04:05:06.789'::time as t, '04:05:06+02'::timetz as ttz, '2001-02-03 04:05:06.123456'::timestamp as ts, '2001-02-03 04:05:06.123456+02'::timestamptz as tstz, '2001-02-03 04:05:06'::timestamp(0) as ts0"),
  "moments beyond": ({ prisma, attempt }) => attempt(row(prisma, "'infinity'::timestamp as never, '-infinity'::date as ever, '0044-03-15 BC'::date as ides")),
  "intervals and what has no type": ({ prisma, attempt }) =>
    Promise.all(["'1 day 02:03:04'::interval", "point(1, 2)", "'[1,5)'::int4range", "'a=>1'::text", "row(1, 'x')", "'12:00'::time - '11:00'::time", "'a & b'::tsquery", "'10.0.0.1'::cidr", "'08:00:2b:01:02:03'::macaddr", "1::regclass", "'1.2'::pg_lsn", "void_in('')"].map((it) => attempt(row(prisma, `${it} as it`)))),
  "documents, bytes and others": ({ prisma }) =>
    row(prisma, "'{\"b\": 1, \"a\": [1.0, null]}'::json as j, '{\"b\": 1, \"a\": [1.0, null]}'::jsonb as jb, 'null'::jsonb as jn, '\\x00ff'::bytea as b, '00000000-0000-4000-8000-000000000001'::uuid as u, b'101' as bit, b'1'::varbit as vb, '<a/>'::xml as x, '10.0.0.1'::inet as i"),
  "arrays": ({ prisma }) =>
    row(
      prisma,
      "'{1,2}'::int4[] as i, '{9007199254740993}'::int8[] as b, '{a,\"b c\",NULL}'::text[] as t, '{t,f}'::bool[] as f, '{1.5}'::float8[] as d, '{1.50}'::numeric[] as n, '{2001-02-03}'::date[] as day, '{\"2001-02-03 04:05:06.5\"}'::timestamp[] as ts, '{\"2001-02-03 04:05:06+02\"}'::timestamptz[] as tz, '{04:05:06}'::time[] as ti, array['{\"a\": 1}'::jsonb] as j, array['\\x01'::bytea] as by, '{00000000-0000-4000-8000-000000000001}'::uuid[] as u, '{RED}'::colour_type[] as e, '{}'::int4[] as none, '{1,2}'::int2[] as s",
    ),
  "arrays of arrays": async ({ prisma, attempt }) => [
    await attempt(row(prisma, "'{{1,2},{3,4}}'::int4[] as i")),
    await attempt(row(prisma, "'{{a},{b}}'::text[] as t")),
    await attempt(prisma.$queryRaw`select ${[[1, 2], [3, 4]]}::int[] as nested`),
  ],
  "arrays with nulls": ({ prisma }) => row(prisma, "'{1,NULL}'::int4[] as i, '{NULL}'::bool[] as b, '{NULL,x}'::varchar[] as v, array[null, '{}'::jsonb] as j"),
  "rows of tables": async ({ prisma }) => [
    await prisma.$queryRaw`select * from scalars order by id`,
    await prisma.$queryRaw`select * from lists order by id`,
    await prisma.$queryRaw`select * from users order by id limit 2`,
  ],
  "no rows and no columns": async ({ prisma }) => [await prisma.$queryRaw`select 1 as x where false`, await prisma.$queryRaw`select from users where id < 3`, await prisma.$queryRaw`select 1 as "same", 2 as "same"`],
  "a statement that yields nothing": async ({ prisma }) => [await prisma.$queryRaw`update accounts set balance = 1 where id = 'a'`, await prisma.$executeRaw`select 1`],
  "names of columns": ({ prisma }) => prisma.$queryRaw`select 1 as "Camel Case", 2 as "2", 3 as "1", 4 as "__proto__x", 5, 6 as "é"`,
  "parameters of each type": async ({ prisma, Prisma }) =>
    prisma.$queryRaw`select ${1}::int as i, ${-2.5}::float8 as f, ${9007199254740993n}::int8 as b, ${"text"}::text as t, ${true}::bool as yes, ${null}::text as nothing,
      ${new Date("2001-02-03T04:05:06.789Z")}::timestamptz as at, ${new Date("2001-02-03T04:05:06.789Z")}::timestamp as ts, ${new Uint8Array([1, 255])}::bytea as by,
      ${new Prisma.Decimal("1.10")}::numeric as n, ${{ a: [1, null] }}::jsonb as j, ${["x", "y,z", '"']}::text[] as ts2, ${[1, 2]}::int[] as is2`,
  "parameters whose type the server finds": async ({ prisma, Prisma }) => [
    await prisma.$queryRaw`select id from users where id = ${2}`,
    await prisma.$queryRaw`select id from users where email = ${"ada@example.org"} and active = ${true} and balance = ${new Prisma.Decimal("100.5")}`,
    await prisma.$queryRaw`select id from users where created_at > ${new Date("2001-01-04T00:00:00Z")} order by id`,
    await prisma.$queryRaw`select id from events where id = ${9007199254740993n}`,
    await prisma.$queryRaw`select id from scalars where bytes = ${new Uint8Array([0, 255, 16])}`,
    await prisma.$queryRaw`select id from users where id = any(${[1, 3]}) order by id`,
  ],
  "parameters that are arrays": async ({ prisma, attempt, Prisma }) => [
    await attempt(prisma.$queryRaw`select ${[1n, 9007199254740993n]}::int8[] as b`),
    await attempt(prisma.$queryRaw`select ${[true, false]}::bool[] as f`),
    await attempt(prisma.$queryRaw`select ${[1.5, 2]}::float8[] as f`),
    await attempt(prisma.$queryRaw`select ${[new Date("2001-02-03T04:05:06.789Z")]}::timestamptz[] as d`),
    await attempt(prisma.$queryRaw`select ${[null, "a"]}::text[] as n`),
    await attempt(prisma.$queryRaw`select ${[]}::text[] as none`),
    await attempt(prisma.$queryRaw`select ${[new Prisma.Decimal("1.5")]}::numeric[] as n`),
    await attempt(prisma.$queryRaw`select ${[{ a: 1 }]}::jsonb as j`),
    await attempt(prisma.$queryRaw`select ${[new Uint8Array([1])]}::bytea[] as by`),
  ],
  "join, sql, empty and raw": ({ prisma, Prisma }) =>
    prisma.$queryRaw`select id, ${Prisma.raw("name")} from users where id in (${Prisma.join([1, 2, 3])}) ${Prisma.sql`and active = ${true}`} ${Prisma.empty} order by id`,
  "queryRawUnsafe with parameters": ({ prisma }) => prisma.$queryRawUnsafe("select id, name from users where id > $1 and role = $2::\"Role\" order by id", 1, "USER"),
  "executeRaw": async ({ prisma }) => [
    await prisma.$executeRaw`update users set name = ${"raw"} where id < ${3}`,
    await prisma.$executeRaw`delete from comments where id = ${99}`,
    await prisma.$executeRawUnsafe("insert into accounts values ($1, $2)", "raw", 5),
    await prisma.$executeRaw`create table made (id int)`,
    await prisma.$executeRaw`drop table made`,
  ],
  "several statements at once": async ({ prisma, attempt }) => [
    await attempt(prisma.$executeRawUnsafe("update accounts set balance = 1; update accounts set version = 2 where id = 'a'")),
    await attempt(prisma.$executeRawUnsafe("update accounts set balance = 9; select 1 / 0")),
    await prisma.account.findMany({ orderBy: { id: "asc" } }),
  ],
  "returning": ({ prisma }) => prisma.$queryRaw`insert into accounts (id, balance) values ('r', 1), ('s', 2) returning *`,
  "common table expressions": ({ prisma }) => prisma.$queryRaw`with recursive up as (select * from people where id = 5 union all select p.* from people p join up on p.id = up.boss_id) select id, name from up`,
  "typed, and inserted": async ({ prisma, Prisma }) => [
    await prisma.$executeRaw`insert into natives (id, uuid, date, time, decimal, jsonb, inet, bit) values (50, ${"00000000-0000-4000-8000-0000000000ee"}::uuid, ${new Date("2001-02-03")}::date, ${"01:02:03"}::time, ${new Prisma.Decimal("5.55")}, ${{ x: 1 }}::jsonb, ${"1.2.3.4"}::inet, ${"1100"}::bit(4))`,
    await prisma.native.findUnique({ where: { id: 50 } }),
  ],
  "many rows": async ({ prisma }) => {
    const rows = await prisma.$queryRaw`select i, 'row ' || i as t, i * 1.5 as n from generate_series(1, 5000) i`;
    return [rows.length, rows[0], rows[4999]];
  },
  "a large value": async ({ prisma }) => (await prisma.$queryRaw`select repeat('é', 1000000) as x`)[0].x.length,
  "many parameters": async ({ prisma, Prisma }) => {
    const rows = await prisma.$queryRaw`select count(*)::int as n from (values ${Prisma.join(Array.from({ length: 3000 }, (_, i) => Prisma.sql`(${i}::int, ${`t${i}`}::text)`))}) v`;
    return rows;
  },
  "the session is in UTC": ({ prisma }) => prisma.$queryRaw`select '2001-02-03 04:05:06'::timestamptz at time zone 'UTC' as utc, '2001-02-03 04:05:06+00'::timestamptz::text as text`,
};
