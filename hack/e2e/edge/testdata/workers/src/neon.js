// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

// The Neon serverless driver, with nothing configured but the URL.
import { Client, neon, Pool } from "@neondatabase/serverless";
import { driverOf } from "./pg.js";
import { actions } from "./sql.js";

export async function neonHTTP(url, _after, action, id) {
  const sql = neon(url);
  const batch = (statements) =>
    sql.transaction(
      statements.map(([text, parameters]) => sql.query(text, parameters)),
      { isolationLevel: "RepeatableRead" },
    );
  return actions({ rows: (text, parameters) => sql.query(text, parameters), batch, bytes }, action, id);
}

export async function neonClient(url, after, action, id) {
  const client = new Client(url);
  await client.connect();
  try {
    return await actions(driverOf(client), action, id);
  } finally {
    after(client.end());
  }
}

export async function neonPool(url, after, action, id) {
  const pool = new Pool({ connectionString: url, max: 2 });
  const rows = async (text, parameters) => (await pool.query(text, parameters)).rows;
  const transact = async (work) => {
    const client = await pool.connect();
    try {
      return await driverOf(client).transact(work);
    } finally {
      client.release();
    }
  };
  try {
    return await actions({ rows, transact, bytes }, action, id);
  } finally {
    after(pool.end());
  }
}

const bytes = (each) => Buffer.from(each);
