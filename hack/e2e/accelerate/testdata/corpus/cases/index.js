// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import aggregates from "./aggregates.js";
import batches from "./batches.js";
import errors from "./errors.js";
import filters from "./filters.js";
import generated from "./generated.js";
import json from "./json.js";
import nested from "./nested.js";
import pages from "./pages.js";
import raw from "./raw.js";
import reads from "./reads.js";
import transactions from "./transactions.js";
import types from "./types.js";
import writes from "./writes.js";

const groups = { aggregates, batches, errors, filters, generated, json, nested, pages, raw, reads, transactions, types, writes };

// cases are functions by their names, GROUP: SENTENCE. Each is given a client, Prisma's
// namespace, client(options) for further ones and attempt(promise), which has an error
// be a result. Each begins with the rows of sql/rows.sql.
export const cases = Object.fromEntries(
  Object.entries(groups).flatMap(([group, members]) => Object.entries(members).map(([name, run]) => [`${group}: ${name}`, run])),
);
