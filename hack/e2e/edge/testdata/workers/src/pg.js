// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import pg from "pg";
import { actions } from "./sql.js";

export async function nodePostgres(url, after, action, id) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await actions(driverOf(client), action, id);
  } finally {
    after(client.end());
  }
}

// driverOf is also for clients that are made after node-postgres.
export function driverOf(client) {
  const rows = async (text, parameters) => (await client.query(text, parameters)).rows;
  const transact = async (work) => {
    await client.query("begin");
    try {
      await work(rows);
      await client.query("commit");
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
  };
  return { rows, transact, bytes: (each) => Buffer.from(each) };
}
