// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// What drivers that speak SQL do alike. A driver is
//
//   rows(text, parameters)    runs a statement and returns its rows
//   transact(work)            runs work(rows) in a transaction; undone if work throws
//   batch(statements, undone) runs statements in one transaction, for one without transact

// thing has one of each kind of value; id tells one driver's from another's.
export const thing = (id) => ({
  id,
  tags: ["plain", 'with "quotes"', "comma, and {braces}", ""],
  numbers: [1, -2, 3],
  doc: { nested: { list: [1, "two", null, true] }, text: "ünïcödé ✓" },
  bytes: new Uint8Array([0, 1, 127, 128, 255]),
  big: 9223372036854775807n,
  amount: "12345678901234567890.123456789",
  day: new Date(Date.UTC(2024, 1, 29)),
  at: new Date(Date.UTC(2024, 1, 29, 23, 59, 59, 987)),
  nothing: null,
});

const insert = `insert into things (id, tags, numbers, doc, bytes, big, amount, day, at, nothing)
  values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`;

// actions answers the test's requests with a driver.
export async function actions(driver, action, id) {
  switch (action) {
    case "values":
      return values(driver, id);
    case "transaction":
      return driver.transact ? transaction(driver, id) : batch(driver, id);
    case "conflict":
      await driver.rows("insert into accounts (id, balance) values ($1, 1)", [id]);
      return driver.rows("insert into accounts (id, balance) values ($1, 2)", [id]);
    case "work":
      return driver.rows("select 'done' as work from pg_sleep(0.05)");
    case "large":
      return driver.rows("select repeat('x', 1024) as x from generate_series(1, 16384)");
  }
  throw new Error(`there is no action ${action}`);
}

async function values(driver, id) {
  const written = thing(id);
  const bytes = driver.bytes ?? ((each) => each);
  await driver.rows(insert, [
    id,
    written.tags,
    written.numbers,
    driver.json ? driver.json(written.doc) : JSON.stringify(written.doc),
    bytes(written.bytes),
    written.big.toString(),
    written.amount,
    written.day,
    written.at,
    written.nothing,
  ]);
  const [read] = await driver.rows("select * from things where id = $1", [id]);
  await driver.rows("update things set nothing = $2 where id = $1", [id, "something"]);
  const [updated] = await driver.rows("select nothing from things where id = $1", [id]);
  await driver.rows("delete from things where id = $1", [id]);
  const left = await driver.rows("select from things where id = $1", [id]);
  return { read, updated: updated.nothing, left: left.length };
}

async function transaction({ rows, transact }, id) {
  const balance = async (within) =>
    (await within("select balance, pg_backend_pid() as pid from accounts where id = $1", [id]))[0];
  await rows("insert into accounts (id, balance) values ($1, 100)", [id]);
  const pids = [];
  await transact(async (within) => {
    const before = await balance(within);
    await within("update accounts set balance = $2 where id = $1", [id, before.balance - 30]);
    pids.push(before.pid, (await balance(within)).pid);
  });
  const committed = (await balance(rows)).balance;
  const thrown = await transact(async (within) => {
    await within("update accounts set balance = 0 where id = $1", [id]);
    throw new Error("changed my mind");
  }).catch((error) => error.message);
  return { committed, thrown, undone: (await balance(rows)).balance, oneBackend: pids[0] === pids[1] };
}

async function batch({ rows, batch }, id) {
  const set = (balance) => ["update accounts set balance = $2 where id = $1 returning pg_backend_pid() as pid", [id, balance]];
  const balance = async () => (await rows("select balance from accounts where id = $1", [id]))[0].balance;
  await rows("insert into accounts (id, balance) values ($1, 100)", [id]);
  const [[first], [second]] = await batch([set(90), set(70)]);
  const committed = await balance();
  const thrown = await batch([set(0), ["insert into accounts (id, balance) values ($1, 0)", [id]]]).catch(
    (error) => error.code,
  );
  return { committed, thrown, undone: await balance(), oneBackend: first.pid === second.pid };
}
