// SPDX-FileCopyrightText: The Poolfleet Authors
// SPDX-License-Identifier: Apache-2.0

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { compileFunction } from "node:vm";

const require = createRequire(import.meta.url);
const runtime = "@prisma/client/runtime/query_engine_bg.postgresql";

/** Compiles Prisma's query engine for PostgreSQL; all threads share what comes of it. */
export function compile() {
  return new WebAssembly.Module(Buffer.from(require(`${runtime}.wasm-base64.js`).wasm, "base64"));
}

/**
 * Returns Prisma's QueryEngine class, bound to a WebAssembly instance of its own.
 *
 * @param {WebAssembly.Module} compiled
 */
export function instantiate(compiled) {
  const module = { exports: {} };
  compileFunction(readFileSync(require.resolve(`${runtime}.js`), "utf8"), ["module"])(module);
  const { exports } = new WebAssembly.Instance(compiled, { "./query_engine_bg.js": module.exports });
  module.exports.__wbg_set_wasm(exports);
  exports.__wbindgen_start();
  return module.exports.QueryEngine;
}
