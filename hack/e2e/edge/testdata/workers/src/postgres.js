// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import postgres from "postgres";
import { actions } from "./sql.js";

export async function postgresJS(url, after, action, id) {
  const sql = postgres(url, { max: 1 });
  const rowsOf = (sql) => (text, parameters) => sql.unsafe(text, parameters);
  try {
    return await actions(
      { rows: rowsOf(sql), transact: (work) => sql.begin((sql) => work(rowsOf(sql))), json: (each) => each },
      action,
      id,
    );
  } finally {
    after(sql.end());
  }
}
